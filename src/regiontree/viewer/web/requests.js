// Requests to the server of the page.

export class Refused extends Error {
  /**
   * The server answered, and its answer is no.
   *
   * @param {number} status - of HTTP
   * @param {string} sentence - for the user
   */
  constructor(status, sentence) {
    super(sentence);
    this.status = status;
  }
}

/**
 * Data from the server.
 *
 * @param {string} address - relative to the page
 * @param {object} [more]
 * @param {AbortSignal} [more.signal] - ends the request
 * @param {unknown} [more.body] - what is sent; without it, nothing is
 * @returns {Promise<any>}
 */
export async function ask(address, { signal, body } = {}) {
  /** @type {RequestInit} */
  const options = { signal: signal ?? null };
  if (body !== undefined) {
    options.method = "POST";
    options.headers = { "Content-Type": "application/json" };
    options.body = JSON.stringify(body);
  }
  const answer = await fetch(address, options);
  if (answer.ok) return answer.json();
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const sentence = page.querySelector("main p")?.textContent;
  throw new Refused(answer.status, sentence ?? `The server answered ${answer.status}.`);
}
