// The JetStream API as it is on the wire: JSON requests on `$JS.API.…`, the same for every client and server version.
import { z } from 'zod';
import { BusError } from './errors.ts';

/** Sends one request and resolves to the bytes of the reply. */
export type Request = (subject: string, data: Uint8Array) => Promise<Uint8Array>;

/** Numbers of nats-server's errors (server/errors.json) that callers treat differently. */
export const JS_ERROR = {
  messageNotFound: 10_037,
  streamNotFound: 10_059,
  noStorage: 10_047,
  messageTooLarge: 10_054,
  nameInUse: 10_058,
  wrongLastSequence: 10_071,
} as const;

const failure = z.object({
  error: z.object({ code: z.number(), err_code: z.number().default(0), description: z.string().default('') }),
});

export const publishReply = z.object({ stream: z.string(), seq: z.number().int().positive() });

export const streamInfo = z.object({
  config: z.record(z.string(), z.unknown()),
  created: z.string(),
  state: z.object({ first_seq: z.number(), last_seq: z.number() }),
});
export type StreamInfo = z.infer<typeof streamInfo>;

/** An answer that says no; `number` is JetStream's own error number. */
export class JetStreamError extends BusError {
  readonly number: number;
  constructor(subject: string, number: number, description: string) {
    super('JETSTREAM', `${subject}: ${description || 'refused'} (${number})`);
    this.number = number;
  }
}

/** The checked reply. Throws JetStreamError when it is an error, BusError when it is not what it should be. */
export async function callJetStream<S extends z.ZodType>(
  request: Request,
  subject: string,
  body: unknown,
  reply: S,
): Promise<z.infer<S>> {
  const data =
    body instanceof Uint8Array ? body : Buffer.from(body === undefined ? '' : JSON.stringify(body));
  return readReply(subject, await request(subject, data), reply);
}

export function readReply<S extends z.ZodType>(subject: string, data: Uint8Array, reply: S): z.infer<S> {
  let raw: unknown;
  try {
    raw = JSON.parse(Buffer.from(data).toString());
  } catch (cause) {
    throw new BusError('JETSTREAM', `${subject}: the reply is not JSON`, { cause });
  }
  const no = raw instanceof Object && 'error' in raw ? failure.safeParse(raw) : undefined;
  if (no?.success) throw new JetStreamError(subject, no.data.error.err_code, no.data.error.description);
  const yes = reply.safeParse(raw);
  if (yes.success) return yes.data;
  throw new BusError('JETSTREAM', `${subject}: unexpected reply: ${yes.error.issues[0]!.message}`);
}

/** Undefined when there is none. */
export async function findStream(request: Request, stream: string): Promise<StreamInfo | undefined> {
  try {
    return await readStream(request, stream);
  } catch (error) {
    if (error instanceof JetStreamError && error.number === JS_ERROR.streamNotFound) return undefined;
    throw error;
  }
}

export type StreamConfig = { readonly name: string } & Readonly<Record<string, unknown>>;

/** One of that name that is there already is taken as it is. Throws as updateStream does. */
export async function createStream(request: Request, config: StreamConfig): Promise<StreamInfo> {
  try {
    return await writeStream(request, 'CREATE', config);
  } catch (error) {
    if (error instanceof JetStreamError && error.number === JS_ERROR.nameInUse)
      return readStream(request, config.name);
    throw error;
  }
}

/** Throws BusError NOT_PROVISIONED when this identity may not. */
export function updateStream(request: Request, config: StreamConfig): Promise<StreamInfo> {
  return writeStream(request, 'UPDATE', config);
}

const NOT_PROVISIONED = {
  CREATE: 'is missing, and this identity may not make it',
  UPDATE: 'is not as this version has it, and this identity may not change it',
};

async function writeStream(
  request: Request,
  verb: 'CREATE' | 'UPDATE',
  config: StreamConfig,
): Promise<StreamInfo> {
  const { name } = config;
  try {
    return await callJetStream(request, `$JS.API.STREAM.${verb}.${name}`, config, streamInfo);
  } catch (error) {
    if (!(error instanceof BusError) || error.code !== 'NOT_PERMITTED') throw error;
    throw new BusError(
      'NOT_PROVISIONED',
      `stream ${name} ${NOT_PROVISIONED[verb]}: run once, and after each upgrade, ` +
        'flowtag provision with the credential of an admin (flowtag enroll --role admin NAME)',
      { cause: error },
    );
  }
}

export function readStream(request: Request, stream: string): Promise<StreamInfo> {
  return callJetStream(request, `$JS.API.STREAM.INFO.${stream}`, undefined, streamInfo);
}

const subjectsInfo = z.object({
  state: z.object({ subjects: z.record(z.string(), z.number()).default({}) }),
});

/** Those that have messages in the stream, below a pattern. */
export async function readSubjects(request: Request, stream: string, pattern: string): Promise<string[]> {
  const body = { subjects_filter: pattern };
  const { state } = await callJetStream(request, `$JS.API.STREAM.INFO.${stream}`, body, subjectsInfo);
  return Object.keys(state.subjects);
}

const storedMessage = z.object({
  message: z.object({
    subject: z.string(),
    seq: z.number(),
    data: z.base64().default(''),
    hdrs: z.base64().default(''),
  }),
});

/** The first message of the subject from `seq` on, its headers as they are on the wire; undefined when there is none. */
export async function readMessage(
  request: Request,
  stream: string,
  subject: string,
  seq: number,
): Promise<{ subject: string; seq: number; data: Uint8Array; headers: string } | undefined> {
  const api = `$JS.API.STREAM.MSG.GET.${stream}`;
  try {
    const { message } = await callJetStream(request, api, { seq, next_by_subj: subject }, storedMessage);
    const [data, headers] = [message.data, message.hdrs].map((text) => Buffer.from(text, 'base64'));
    return { subject: message.subject, seq: message.seq, data: data!, headers: headers!.toString() };
  } catch (error) {
    if (error instanceof JetStreamError && error.number === JS_ERROR.messageNotFound) return undefined;
    throw error;
  }
}
