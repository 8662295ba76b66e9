// Captured text is untrusted: a path may carry terminal control sequences, or bidi marks that reorder what is read.

/**
 * Text that is safe on a terminal and cannot be mistaken for anything else: control, format (bidi, zero width),
 * separator, private and unpaired surrogate characters become `\xHH` or `\u{HHHH}`; a backslash is doubled.
 */
export function escapeText(text: string): string {
  return text.replace(UNSAFE, (char) => (char === '\\' ? '\\\\' : codeEscape(char)));
}

/** The same for a word of a line whose words are separated by spaces: no captured text can forge a further column. */
export function escapeWord(text: string): string {
  return escapeText(text).replace(/[\s|]/gu, codeEscape);
}

/** JSON of a value with everything outside printable text as `\uXXXX`, which any JSON reader undoes. */
export function escapeJson(json: string): string {
  return json.replace(UNSAFE_IN_JSON, (char) => {
    let escaped = '';
    for (let at = 0; at < char.length; at++)
      escaped += `\\u${char.charCodeAt(at).toString(16).padStart(4, '0')}`;
    return escaped;
  });
}

const UNSAFE = /[\\\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Zl}\p{Zp}]/gu;
const UNSAFE_IN_JSON = /[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Zl}\p{Zp}]/gu;

function codeEscape(char: string): string {
  const code = char.codePointAt(0)!;
  return code < 0x100 ? `\\x${code.toString(16).padStart(2, '0')}` : `\\u{${code.toString(16)}}`;
}
