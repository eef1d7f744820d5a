// Which names match what a user types. Case and accents make no difference.

/**
 * A text without case and accents.
 *
 * @param {string} text
 */
export function plainText(text) {
  return text.normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase();
}

/**
 * A function that tells whether a plain text contains every word of the query.
 *
 * @param {string} query
 * @returns {(plain: string) => boolean}
 */
export function matcher(query) {
  const words = plainText(query).split(/\s+/).filter(Boolean);
  return (plain) => words.every((word) => plain.includes(word));
}
