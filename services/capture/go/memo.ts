// Answers that are worth keeping, by number. The oldest goes when there are too many.
const MAX_REMEMBERED = 8192;

export class Memo<T extends NonNullable<unknown>> {
  private readonly known = new Map<number, T>();

  get(key: number, find: () => T): T {
    const known = this.known.get(key);
    if (known !== undefined) return known;
    const found = find();
    if (this.known.size >= MAX_REMEMBERED) this.known.delete(this.known.keys().next().value!);
    this.known.set(key, found);
    return found;
  }
}
