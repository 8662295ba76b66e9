// Which subjects a message can be published on. Pure.

/**
 * Our own bound, well below the server's: a protocol line (verb, subject, reply and two lengths) above its
 * `max_control_line`, 4096 bytes by default, ends the connection, and so does every attempt to send it again.
 */
const MAX_SUBJECT_BYTES = 2_048; // two names of 255 bytes, each byte encoded as three, fit

/**
 * White space ends the subject on the wire, which the server takes for a broken protocol; a subject with an empty
 * token matches no stream, which a publisher cannot tell from a stream that does not exist yet.
 */
export function isPublishable(subject: string): boolean {
  return (
    Buffer.byteLength(subject) <= MAX_SUBJECT_BYTES &&
    !/[\t\n\v\f\r ]/.test(subject) &&
    !subject.split('.').includes('')
  );
}
