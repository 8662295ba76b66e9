// The correlator from the sources: `node --import tsx correlator.ts …`, as bin/flowtag.js does from dist.
import { main } from '../../../services/correlator/main.ts';

process.exit(await main(process.argv.slice(2)));
