// `--help` of a service, from the same schema that its options are read with. Pure.
import type { z } from 'zod';
import { optionsOf } from './config.ts';

export function usageOf(role: string, schema: z.ZodObject): string {
  const options = optionsOf(role, schema).map(({ flag, type, variable, text, preset }) => {
    const value = type === 'boolean' ? '' : ` <${type === 'number' || type === 'int' ? 'n' : 'value'}>`;
    const shown =
      preset === undefined || preset === false || String(preset) === '' ? '' : ` (default: ${preset})`;
    return `  ${flag}${value}\n      ${text}${shown}\n      ${variable}`;
  });
  return `Usage: flowtag ${role} [options]\n\nOptions, each with the name of its environment variable:\n${options.join('\n')}\n`;
}
