// Attaches to a process with the rights that it was started with, and says on stdout what came of it.
import { parseArgs } from 'node:util';
import type { Backend } from '../../services/capture/backends.ts';
import type { Means } from '../../services/capture/capabilities.ts';
import { Capture } from '../support/capture.ts';
import { ATTACHED } from './result.ts';

const { values } = parseArgs({
  options: { backend: { type: 'string' }, uprobes: { type: 'string' }, pid: { type: 'string' } },
});
const pid = Number(values.pid);
try {
  const capture = await Capture.open({
    backend: values.backend as Backend,
    uprobes: values.uprobes as Means['uprobes'],
  });
  await capture.attach(`/proc/${pid}/exe`, pid);
  process.stdout.write(`${ATTACHED}\n`);
} catch (error) {
  process.stdout.write(`${(error as Error).message}\n`);
}
process.exit(0); // the kernel takes the probes off
