// From the plan for an executable to what the kernel is given, and what the user is told.
import { HOOK } from './bpf/layout.gen.ts';
import type { ChannelHook } from './go/channel-probes.ts';
import { type Hook, notesOn } from './go/probes.ts';
import type { GoBinary } from './go/read-go-binary.ts';
import type { UprobeSites } from './libbpf.ts';

const GUARDED = 1 << 16; // COOKIE_GUARDED in bpf/events.h
const HOOKS: Readonly<Record<Hook | ChannelHook, number>> = {
  request_start: HOOK.HOOK_REQUEST_START,
  request_read: HOOK.HOOK_REQUEST_READ,
  request_end: HOOK.HOOK_REQUEST_END,
  response_close: HOOK.HOOK_RESPONSE_CLOSE,
  goroutine_start: HOOK.HOOK_GOROUTINE_START,
  goroutine_created: HOOK.HOOK_GOROUTINE_CREATED,
  serve_end: HOOK.HOOK_SERVE_END,
  round_trip: HOOK.HOOK_ROUND_TRIP,
  request_write: HOOK.HOOK_REQUEST_WRITE,
  dial_queued: HOOK.HOOK_DIAL_QUEUED,
  dial: HOOK.HOOK_DIAL,
  channel_put: HOOK.HOOK_CHANNEL_PUT,
  channel_get: HOOK.HOOK_CHANNEL_GET,
  channel_send: HOOK.HOOK_CHANNEL_SEND,
  channel_receive: HOOK.HOOK_CHANNEL_RECEIVE,
  select_get: HOOK.HOOK_SELECT_GET,
  select_receive: HOOK.HOOK_SELECT_RECEIVE,
};

/** In words, what of it cannot be seen, or not as cheaply as usual. */
export function notesOf(binary: GoBinary, withChannels: boolean): string[] {
  const notes = notesOn(binary);
  if (withChannels && binary.channels.reason)
    notes.push(`jobs are not followed through channels: ${binary.channels.reason}`);
  if (binary.symbols.inlineTrees === undefined)
    notes.push('a function that was inlined is named by the one that it is in');
  return notes;
}

/** `index`: of the executable, which every hit carries with the hook. */
export function sitesOf(
  binary: GoBinary,
  index: number,
  withChannels: boolean,
): Pick<UprobeSites, 'offsets' | 'cookies'> {
  const sites = withChannels ? [...binary.channels.sites, ...binary.sites] : binary.sites;
  return {
    offsets: sites.map(({ fileOffset }) => fileOffset),
    cookies: sites.map(({ hook, guarded }) => BigInt(HOOKS[hook] | (index << 8) | (guarded ? GUARDED : 0))),
  };
}

/** Counts that are indexed by a hook's number, by its name. */
export function byHook(counts: readonly number[]): Record<string, number> {
  const entries = Object.entries(HOOK);
  return Object.fromEntries(
    entries.map(([name, hook]) => [name.slice('HOOK_'.length).toLowerCase(), counts[hook]!]),
  );
}
