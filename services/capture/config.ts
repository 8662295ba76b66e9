// Configuration of the capture daemon.
import { join } from 'node:path';
import { z } from 'zod';
import { sharedOptions } from '../runtime/config.ts';
import { BACKENDS } from './backends.ts';

const MIB = 1 << 20;

export const captureOptions = z
  .object({
    ...sharedOptions,
    target: z
      .array(z.string().min(1))
      .default([])
      .describe('what to probe: a pid, the path of an executable or a glob over paths; repeatable')
      .meta({ example: '/usr/bin/caddy' }),
    auto: z.boolean().default(false).describe('probe every Go net/http server on this host'),
    query: z
      .boolean()
      .default(false)
      .describe('capture query strings too (off: they often carry personal data)'),
    channels: z
      .array(z.string().min(1))
      .default([])
      .describe(
        'follow jobs through channels to worker goroutines in these, named as with --target; costs a probe hit for each channel operation; repeatable',
      )
      .meta({ example: '/usr/local/bin/shop' }),
    stacks: z.boolean().default(false).describe('the whole call stack of each call too (code.stacktrace)'),
    maxHits: z
      .number()
      .int()
      .min(100)
      .default(100_000)
      .describe('probe hits per second and executable beyond which its probes are taken off'),
    allowUnknownGo: z
      .boolean()
      .default(false)
      .describe('probe programs built by a newer Go than this version knows, with the newest known layout'),
    ringMib: z
      .number()
      .refine((mib) => [1, 2, 4, 8, 16, 32, 64].includes(mib), 'is not 1, 2, 4, 8, 16, 32 or 64')
      .default(8)
      .describe('size of the kernel ring buffer in MiB, a power of two'),
    maxContexts: z
      .number()
      .int()
      .min(16)
      .max(4_194_304)
      .default(65_536)
      .describe(
        'goroutines on this host that work for a request at once; beyond it connections say map_full',
      ),
    tickMs: z.number().int().min(1).max(1000).default(4).describe('how often to read events while they come'),
    scanMs: z
      .number()
      .int()
      .min(100)
      .max(60_000)
      .default(1000)
      .describe('how often to look for new processes'),
    queueMib: z
      .number()
      .int()
      .min(1)
      .max(4096)
      .default(64)
      .describe(
        'events kept in memory while the bus is away and the spool cannot be written, in MiB; beyond it new ones are dropped and counted',
      ),
    spoolMib: z
      .number()
      .int()
      .refine((mib) => mib === 0 || (mib >= 32 && mib <= 8192), 'is not 0, nor from 32 to 8192')
      .default(1024)
      .describe(
        'events kept on disk while the bus is away, in MiB; beyond it the oldest are dropped and counted; 0: in memory only',
      ),
    spoolDir: z
      .string()
      .min(1)
      .optional()
      .describe('where they are kept; `spool` in the data directory when not given'),
    backend: z
      .enum(['auto', ...BACKENDS])
      .default('auto')
      .describe(
        'how sockets are watched; auto: what this kernel has, tracepoints first, then fentry, then kprobes',
      ),
    uprobes: z
      .enum(['auto', 'multi', 'perf'])
      .default('auto')
      .describe('how to attach: uprobe_multi links (Linux 6.6), perf events, or what the kernel has'),
  })
  .refine(({ target, auto }) => auto || target.length > 0, {
    message: 'nothing to probe: name --target PID|PATH|GLOB, or --auto',
  });
export type CaptureOptions = z.infer<typeof captureOptions>;

export function ringBytes(options: CaptureOptions): number {
  return options.ringMib * MIB;
}

export function spoolBytes(options: CaptureOptions): number {
  return options.spoolMib * MIB;
}

export function spoolDir({ spoolDir, dataDir }: CaptureOptions): string {
  return spoolDir ?? join(dataDir, 'spool');
}

export function queueBytes(options: CaptureOptions): number {
  return options.queueMib * MIB;
}
