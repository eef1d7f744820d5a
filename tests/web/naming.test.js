import assert from "node:assert/strict";
import { test } from "node:test";

import { Naming } from "../../src/regiontree/viewer/web/naming.js";
import { Refused } from "../../src/regiontree/viewer/web/requests.js";

/** @import { Edit, Names } from "../../src/regiontree/viewer/web/naming.js" */

// 0, 1 -> 4; 2, 3 -> 5; 4, 5 -> 6
const PARENTS = [4, 4, 5, 5, 6, 6, 6];

/** A server that keeps names, and the page's means of talking to it. */
function company() {
  /** @type {Map<number, string>} */
  const own = new Map();
  /** @type {Map<string, [number, number, number]>} */
  const moved = new Map();
  /** @type {Map<string, string>} */
  const kept = new Map();
  const server = {
    own,
    moved,
    kept,
    /** @type {string[]} */
    told: [],
    /** @type {Error[]} what it answers instead, in turn */
    faults: [],
    /** @type {Edit[][]} */
    sent: [],
    waits: 0,
    /** @returns {Names} */
    names() {
      return { own: [...own], parents: PARENTS, moved: [...moved.values()], suggested: [], told: [] };
    },
  };
  const naming = new Naming({
    send: async (edits) => {
      server.sent.push(edits);
      const fault = server.faults.shift();
      if (fault) throw fault;
      for (const edit of edits) {
        if (!("photo" in edit)) {
          if (edit.name) own.set(edit.category, edit.name);
          else own.delete(edit.category);
        } else if (edit.category === null) moved.delete(`${edit.photo} ${edit.node}`);
        else moved.set(`${edit.photo} ${edit.node}`, [edit.photo, edit.node, edit.category]);
      }
      return server.names();
    },
    load: async () => server.names(),
    tell: (sentence) => server.told.push(sentence),
    store: { getItem: (key) => kept.get(key) ?? null, setItem: (key, text) => void kept.set(key, text) },
    key: "k",
    wait: async () => {
      server.waits++;
    },
  });
  naming.begin(server.names());
  return { server, naming };
}

/** Let everything happen that has been asked for. */
const settle = () => new Promise((done) => setTimeout(done, 5));

test("a name covers what lies below, and one below overrides it", async () => {
  const { naming } = company();
  naming.give(4, " animal ");
  naming.give(1, "dog");
  assert.deepEqual(naming.nameOf(0), { name: "animal", from: 4 });
  assert.deepEqual(naming.nameOf(1), { name: "dog", from: 1 });
  assert.equal(naming.nameOf(2), null);
  assert.deepEqual(naming.all(), ["animal", "dog"]);
  await settle();
});

test("each change is sent at once and can be taken back and made again", async () => {
  const { server, naming } = company();
  naming.give(4, "wolf");
  naming.give(4, "dog");
  naming.move(7, 3, 5);
  await settle();
  assert.equal(naming.status, "saved");
  assert.deepEqual([server.own.get(4), server.moved.size], ["dog", 1]);
  naming.undo();
  naming.undo();
  await settle();
  assert.deepEqual([server.own.get(4), server.moved.size], ["wolf", 0]);
  naming.redo();
  await settle();
  assert.equal(server.own.get(4), "dog");
  naming.undo();
  naming.undo();
  assert.equal(naming.undo(), null);
  await settle();
  assert.equal(server.own.size, 0);
  naming.give(2, "plant");
  assert.equal(naming.canRedo, false);
  await settle();
});

test("what changes nothing is no change", async () => {
  const { server, naming } = company();
  naming.give(4, "  ");
  naming.move(1, 1, null);
  await settle();
  assert.equal(server.sent.length, 0);
  assert.equal(naming.canUndo, false);
});

test("a change that the server does not take now is sent again until it does", async () => {
  const { server, naming } = company();
  server.faults.push(new TypeError("no connection"), new Refused(500, "line 3 is wrong"));
  naming.give(4, "dog");
  /** @type {string[]} */
  const reasons = [];
  naming.on(() => reasons.push(`${naming.status} ${naming.reason}`));
  await settle();
  assert.ok(reasons.includes("waiting The server does not answer."));
  assert.ok(reasons.includes("waiting line 3 is wrong"));
  assert.equal(server.own.get(4), "dog");
  assert.deepEqual([naming.status, naming.waiting, server.waits], ["saved", 0, 2]);
});

test("what is not sent yet survives the page", async () => {
  const { server, naming } = company();
  naming.wait = () => new Promise(() => {}); // the page dies while it waits
  server.faults.push(new TypeError("no connection"));
  naming.give(4, "dog");
  await settle();
  assert.equal(server.own.size, 0);
  const later = new Naming({ ...naming, store: naming.store });
  later.begin(server.names());
  assert.equal(later.own.get(4), "dog");
  await settle();
  assert.equal(server.own.get(4), "dog");
  assert.equal(server.kept.get("k"), "[]");
});

test("a change that will never be taken is told and dropped", async () => {
  const { server, naming } = company();
  server.faults.push(new Refused(400, "There is no such category."));
  naming.give(4, "dog");
  await settle();
  assert.deepEqual(server.told, ["A change was not saved. There is no such category."]);
  assert.deepEqual([naming.own.size, naming.waiting, naming.status], [0, 0, "saved"]);
});

test("names of others are taken over, under the changes that are still on their way", async () => {
  const { server, naming } = company();
  naming.wait = () => new Promise(() => {});
  server.faults.push(new TypeError("no connection"));
  naming.give(4, "dog");
  await settle();
  server.own.set(4, "wolf");
  server.own.set(5, "plant");
  await naming.refresh();
  assert.deepEqual([naming.own.get(4), naming.own.get(5)], ["dog", "plant"]);
});
