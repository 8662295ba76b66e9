// The sink and its store from the sources: `node --import tsx flowtag.ts sink|store …`, as bin/flowtag.js does from dist.

import { main as store } from '../../../services/sink/embedded/main.ts';
import { main as sink } from '../../../services/sink/main.ts';

const [verb, ...argv] = process.argv.slice(2);
process.exit(await (verb === 'store' ? store : sink)(argv));
