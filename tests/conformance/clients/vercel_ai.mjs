// The Vercel AI SDK with its OpenAI provider, which has a client of its own: chat completions and responses. Ours.

import assert from "node:assert/strict";
import { test } from "node:test";
import { createOpenAI } from "@ai-sdk/openai";
import { APICallError, embedMany, generateText, Output, stepCountIs, streamText, tool } from "ai";
import { z } from "zod";

const openai = createOpenAI({ baseURL: process.env.OPENAI_BASE_URL });
const settings = { maxRetries: 0 };
const stateless = { providerOptions: { openai: { store: false } } };
const Sum = z.object({ left: z.number(), operator: z.enum(["add", "subtract"]) });

for (const [name, model] of [["chat", openai.chat("gpt-4o")], ["responses", openai.responses("gpt-4o")]]) {
  const asked = { model, ...settings, ...stateless };

  test(`${name}: text`, async () => {
    const answer = await generateText({ ...asked, prompt: "hello 🜂" });
    assert.equal(answer.text, "You said: hello 🜂");
    assert.ok(answer.usage.totalTokens > 0);
  });

  test(`${name}: stream`, async () => {
    const answer = streamText({ ...asked, prompt: "a\u2028b there" });
    const pieces = [];
    for await (const piece of answer.textStream) pieces.push(piece);
    assert.equal(pieces.join(""), "You said: a\u2028b there");
    assert.ok(pieces.length > 1);
    assert.ok((await answer.usage).totalTokens > 0);
  });

  test(`${name}: a tool and its answer`, async () => {
    const places = [];
    const weather = tool({ inputSchema: z.object({ place: z.string() }), execute: async ({ place }) => (places.push(place), "rain") });
    const answer = await generateText({ ...asked, prompt: "Bern", tools: { weather }, stopWhen: stepCountIs(3) });
    assert.deepEqual(places, ["Bern"]);
    assert.match(answer.text, /rain/);
  });

  test(`${name}: structured output`, async () => {
    const answer = await generateText({ ...asked, prompt: "add 7", output: Output.object({ schema: Sum }) });
    assert.deepEqual(answer.output, { left: 7, operator: "add" });
  });

  test(`${name}: left in the middle`, async () => {
    const leaving = new AbortController();
    const answer = streamText({ ...asked, prompt: "be verbose", abortSignal: leaving.signal });
    let seen = 0;
    for await (const _ of answer.textStream) if (++seen === 3) leaving.abort();
    assert.ok(seen < 20, `${seen} pieces`);
  });

  test(`${name}: an error`, async () => {
    await assert.rejects(generateText({ ...asked, prompt: "Refuse with 422" }), (error) => APICallError.isInstance(error) && error.statusCode === 422);
  });
}

test("embeddings", async () => {
  const { embeddings } = await embedMany({ model: openai.embedding("gpt-4o"), values: ["one", "two"], ...settings });
  assert.equal(embeddings.length, 2);
  assert.notDeepEqual(embeddings[0], embeddings[1]);
});
