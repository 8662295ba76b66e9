import { pino } from 'pino';

/** For code under test whose log nobody reads. */
export const quiet = pino({ level: 'silent' });
