// Services from the sources: `node --import tsx flowtag.ts <service> …`, as bin/flowtag.js does from dist.
import { main as correlator } from '../../services/correlator/main.ts';
import { main as provision } from '../../services/correlator/provision.ts';
import { main as store } from '../../services/sink/embedded/main.ts';
import { main as sink } from '../../services/sink/main.ts';

const [verb, ...argv] = process.argv.slice(2);
const services: Readonly<Record<string, typeof sink>> = { correlator, provision, sink, store };
process.exit(await services[verb!]!(argv));
