import { describe, expect, it } from 'vitest';
import { VERSION } from '../../../services/runtime/version.ts';
import { runCommand } from './command-line.ts';

describe('help and usage', () => {
  it('lists every verb, also those that run a service', async () => {
    const { code, stdout, stderr } = await runCommand('--help');
    expect([code, stderr]).toEqual([0, '']);
    for (const verb of ['up', 'observe', 'lookup', 'capture', 'correlator', 'sink', 'store'])
      expect(stdout).toMatch(new RegExp(`^  ${verb}\\b`, 'm'));
    expect(stdout).toContain('Examples:');
  });

  it.each(['up', 'observe', 'lookup'])('%s --help has examples', async (verb) => {
    const { code, stdout } = await runCommand(verb, '--help');
    expect(code).toBe(0);
    expect(stdout).toContain('Examples:');
    expect(stdout).toContain('--data-dir');
  });

  it('prints the version', async () => {
    expect(await runCommand('--version')).toEqual({ code: 0, stdout: `${VERSION}\n`, stderr: '' });
  });

  it.each([
    [[], /Usage: flowtag/],
    [['obsreve'], /unknown command 'obsreve'[\s\S]*observe/],
    [['observe', '--lats', '3'], /unknown option '--lats'[\s\S]*--last/],
    [['observe', '--last', '0'], /--last: "0" is not a number between 1 and 10000/],
    [['observe', '-o', 'xml'], /xml.*compact, wide, json/],
    [['observe', '--since', 'tuesday'], /--since: "tuesday" is not a time/],
    [['observe', '-f', '--until', '1m'], /--until and -f exclude each other/],
    [['observe', '--since', '1m', '--until', '5m'], /--since must be before --until/],
    [['observe', 'more'], /too many arguments/],
    [['lookup'], /missing required argument/],
    [['lookup', 'somewhere'], /"somewhere" is not address:port/],
    [['lookup', '10.0.0.7:1', '--window', '5'], /--window: "5" is not a duration/],
    [['up', '--duration', '30d'], /--duration: "30d" is too long/],
    [['--color', 'blue', 'observe'], /auto, always, never/],
    [['--server', 'http://x', 'observe'], /--server.*is not a nats/],
    [['--server', 'nats://x', 'sink'], /must be the first word: flowtag sink/],
  ])('flowtag %j is a usage error', async (argv, problem) => {
    const { code, stdout, stderr } = await runCommand(...argv);
    expect(stderr).toMatch(problem);
    expect([code, stdout]).toEqual([2, '']);
  });
});
