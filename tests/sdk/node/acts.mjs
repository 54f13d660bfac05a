// Plays the acts of one client and prints what came of them, as one line of JSON.
//
// Standard input is one JSON object, what each act is given: the addresses and keys of two gateways,
// the model names, the questions to ask. An act returns what the client made of the answers. What
// it throws is told as `failed`, so that one act cannot hide the others.

import { text } from "node:stream/consumers";

/** Play every act, one after the other, and print `{name: result}`. */
export async function play(acts) {
  const given = JSON.parse(await text(process.stdin));
  const told = {};
  for (const [name, act] of Object.entries(acts)) {
    try {
      told[name] = await act(given);
    } catch (error) {
      told[name] = { failed: `${error?.name}: ${error?.message ?? JSON.stringify(error)}` };
    }
  }
  console.log(JSON.stringify(told));
}

/** The answers to each question of a conversation, each asked with all that was said before. */
export async function converse(questions, answer) {
  const messages = [];
  const said = [];
  for (const question of questions) {
    messages.push({ role: "user", content: question });
    const reply = await answer(messages);
    messages.push({ role: "assistant", content: reply });
    said.push(reply);
  }
  return said;
}

/** What `told` makes of the error that `call` throws; a call that succeeds is an error here. */
export async function refused(call, told) {
  let answer;
  try {
    answer = await call();
  } catch (error) {
    return told(error);
  }
  throw new Error(`answered, not refused: ${JSON.stringify(answer)?.slice(0, 200)}`);
}

/** Ask until the limit refuses; then once more with a client that waits: `{refusal, said, waited}`. */
export async function untilLimited(once, patient, told) {
  for (let asked = 0; asked < 100; asked += 1) {
    try {
      await once();
    } catch (error) {
      const refusal = told(error);
      const began = performance.now();
      const said = await patient();
      return { refusal, said, waited: (performance.now() - began) / 1000 };
    }
  }
  throw new Error("100 requests met no limit");
}

/** Text of more than the gateway takes. */
export const tooLong = "a".repeat(2_200_000);
