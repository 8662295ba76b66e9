import { closeSync, fstatSync, openSync, renameSync, writeSync } from 'node:fs';

const MAX_BYTES = 10 * 1024 * 1024;

/** A log of bounded size: at 10 MB it becomes `<file>.1`, in place of the one before. Never throws: a log is no reason to stop. */
export class LogFile {
  private readonly file: string;
  private readonly maxBytes: number;
  private descriptor: number | undefined;
  private bytes = 0;
  /** Not written, because the disk is full or the folder is gone. */
  lostLines = 0;

  constructor(file: string, maxBytes = MAX_BYTES) {
    this.file = file;
    this.maxBytes = maxBytes;
  }

  append(line: string): void {
    const data = Buffer.from(`${line}\n`);
    try {
      if (this.descriptor !== undefined && this.bytes + data.length > this.maxBytes) this.rotate();
      this.descriptor ??= this.open();
      writeSync(this.descriptor, data);
      this.bytes += data.length;
    } catch {
      this.lostLines++;
    }
  }

  close(): void {
    if (this.descriptor !== undefined) closeSync(this.descriptor);
    this.descriptor = undefined;
  }

  private open(): number {
    const descriptor = openSync(this.file, 'a', 0o600);
    this.bytes = fstatSync(descriptor).size;
    return descriptor;
  }

  private rotate(): void {
    this.close();
    renameSync(this.file, `${this.file}.1`);
  }
}
