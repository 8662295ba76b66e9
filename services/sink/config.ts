// Options of `flowtag sink`.
import { z } from 'zod';
import { sharedOptions } from '../runtime/config.ts';

export const sinkOptions = z.object({
  ...sharedOptions,
  store: z
    .string()
    .regex(/^(?:embedded|https?:\/\/\S+)$/, "is neither 'embedded' nor an http:// or https:// URL")
    .default('embedded')
    .describe("where rows are kept: 'embedded', or the URL of a ClickHouse server (26 or newer)"),
  user: z.string().min(1).default('default').describe('user at the ClickHouse server'),
  passwordFile: z.string().min(1).optional().describe('file with the password of that user'),
  adopt: z
    .boolean()
    .default(false)
    .describe('go on although the rows so far are in another store, which is then asked no more'),
  retentionDays: z.int().min(1).max(3650).default(7).describe('days after which rows are dropped'),
});
export type SinkConfig = z.infer<typeof sinkOptions>;
