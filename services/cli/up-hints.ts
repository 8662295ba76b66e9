// What a newcomer can do next while everything runs. Pure.
import { resolve } from 'node:path';
import { formatEndpoint } from '../../schemas/ip-address.ts';
import type { Flow } from '../../schemas/rows.ts';

/** `first`: a flow that was printed, as the example to look up. */
export function whatNext(dataDir: string, demoUrl: string | undefined, first: Flow | undefined): string {
  const place = resolve(dataDir) === resolve('.flowtag') ? '' : ` --data-dir ${dataDir}`;
  const [address, port] = [first?.['network.local.address'], first?.['network.local.port']];
  const end = address && port ? formatEndpoint(address, port) : '<address:port>';
  return [
    'in another shell:',
    ...(demoUrl ? [`  send more requests:    curl '${demoUrl}/echo?text=hello'`] : []),
    `  watch flows:           npx flowtag observe -f${place}`,
    `  who made a connection: npx flowtag lookup ${end}${place}`,
    'Ctrl-C stops everything.',
    ...(demoUrl ? ['Then watch a server of your own: npx flowtag up --target /path/to/server'] : []),
  ].join('\n');
}
