/** A child that never ends its line must not fill the memory. */
const MAX_LINE_CHARS = 64 * 1024;

/** Lines out of chunks of text; a longer line comes in pieces. */
export class LineSplitter {
  private rest = '';

  push(chunk: string): string[] {
    const lines = (this.rest + chunk).split('\n');
    this.rest = lines.pop()!;
    if (this.rest.length >= MAX_LINE_CHARS) {
      lines.push(this.rest);
      this.rest = '';
    }
    return lines;
  }

  /** What is left at the end without a line break. */
  end(): string[] {
    const { rest } = this;
    this.rest = '';
    return rest === '' ? [] : [rest];
  }
}
