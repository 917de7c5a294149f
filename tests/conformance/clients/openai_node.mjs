// OpenAI's Node client through every kind of call, against a stand-in that does what it is asked. Ours: nobody publishes such a suite.
// `node --test` runs it in an environment of its own; the same assertions hold at the upstream itself and through the gateway.

import assert from "node:assert/strict";
import { test } from "node:test";
import OpenAI from "openai";
import { zodResponseFormat, zodTextFormat } from "openai/helpers/zod";
import { z } from "zod";

const client = new OpenAI({ maxRetries: 0 });
const model = "gpt-4o";
const said = (content) => [{ role: "user", content }];
const Sum = z.object({ left: z.number(), operator: z.enum(["add", "subtract"]), note: z.string().nullable() });
const weather = {
  name: "weather",
  description: "The weather of a place.",
  parameters: { type: "object", properties: { place: { type: "string" } }, required: ["place"], additionalProperties: false },
};

async function all(stream) {
  const events = [];
  for await (const event of stream) events.push(event);
  return events;
}

test("chat", async () => {
  const answer = await client.chat.completions.create({ model, messages: said("naïve 🜂 \u2028 line") });
  assert.equal(answer.choices[0].message.content, "You said: naïve 🜂 \u2028 line");
  assert.equal(answer.usage.total_tokens, answer.usage.prompt_tokens + answer.usage.completion_tokens);
});

test("chat: the raw response has the upstream's headers", async () => {
  const { response, request_id } = await client.chat.completions.create({ model, messages: said("hello") }).withResponse();
  assert.equal(response.headers.get("openai-processing-ms"), "1");
  assert.match(request_id, /^req_/);
});

test("chat: n answers, stop, logit_bias, seed, metadata", async () => {
  const asked = { model, messages: said("one STOP two"), n: 3, stop: ["STOP"], logit_bias: { 50256: -100 }, seed: 2 ** 53 - 1 };
  const answer = await client.chat.completions.create(asked);
  assert.deepEqual(answer.choices.map((choice) => choice.message.content), Array(3).fill("You said: one "));
});

test("stream", async () => {
  const chunks = await all(await client.chat.completions.create({ model, messages: said("a\u2028b\u0085c 🜂"), stream: true }));
  assert.equal(chunks.map((chunk) => chunk.choices[0].delta.content ?? "").join(""), "You said: a\u2028b\u0085c 🜂");
  assert.ok(chunks.every((chunk) => !("usage" in chunk)), "usage was not asked for");
  assert.equal(new Set(chunks.map((chunk) => chunk.id)).size, 1);
});

test("stream: usage that is asked for comes last, without choices", async () => {
  const asked = { model, messages: said("hello"), stream: true, stream_options: { include_usage: true } };
  const chunks = await all(await client.chat.completions.create(asked));
  assert.deepEqual(chunks.at(-1).choices, []);
  assert.ok(chunks.at(-1).usage.total_tokens > 0);
  assert.ok(chunks.slice(0, -1).every((chunk) => chunk.usage === null));
});

test("stream: n answers take turns", async () => {
  const chunks = await all(await client.chat.completions.create({ model, messages: said("hello"), n: 2, stream: true }));
  for (const index of [0, 1]) {
    const own = chunks.flatMap((chunk) => chunk.choices).filter((choice) => choice.index === index);
    assert.equal(own.map((choice) => choice.delta.content ?? "").join(""), "You said: hello");
    assert.equal(own.at(-1).finish_reason, "stop");
  }
});

test("stream: the helper gathers what came", async () => {
  const stream = client.chat.completions.stream({ model, messages: said("hello there") });
  const deltas = [];
  stream.on("content.delta", ({ delta }) => deltas.push(delta));
  assert.equal(await stream.finalContent(), "You said: hello there");
  assert.equal(deltas.join(""), "You said: hello there");
});

test("stream: left in the middle, and the next is served", async () => {
  const stream = await client.chat.completions.create({ model, messages: said("be verbose"), stream: true });
  let seen = 0;
  for await (const _ of stream) if (++seen === 3) stream.controller.abort();
  assert.ok(seen < 10, `${seen} events after it was left`);
  const next = await client.chat.completions.create({ model, messages: said("still there?") });
  assert.equal(next.choices[0].message.content, "You said: still there?");
});

test("stream: a time-out before the first byte", async () => {
  const asked = client.chat.completions.create({ model, messages: said("hello"), stream: true }, { timeout: 2 });
  await assert.rejects(asked, OpenAI.APIConnectionTimeoutError);
});

test("tools: calls, plain and streaming, are the same", async () => {
  const asked = { model, messages: said("The weather in Bern, Graz, and Lyon"), tools: [{ type: "function", function: weather }] };
  const plain = (await client.chat.completions.create(asked)).choices[0].message.tool_calls;
  const streamed = (await client.chat.completions.stream(asked).finalChatCompletion()).choices[0].message.tool_calls;
  assert.deepEqual(plain.map((call) => JSON.parse(call.function.arguments).place.split(" ").at(-1)), ["Bern", "Graz", "Lyon"]);
  assert.deepEqual(streamed.map(({ id, function: called }) => [id, called.name, called.arguments]),
    plain.map(({ id, function: called }) => [id, called.name, called.arguments]));
});

for (const stream of [false, true]) {
  test(`tools: runTools, stream ${stream}`, async () => {
    const places = [];
    const tool = { ...weather, parse: JSON.parse, function: ({ place }) => (places.push(place), "rain") };
    const runner = client.chat.completions.runTools({ model, stream, messages: said("Bern"), tools: [{ type: "function", function: tool }] });
    assert.equal(await runner.finalContent(), "You said: rain");
    assert.deepEqual(places, ["Bern"]);
  });
}

test("structured output: parse", async () => {
  const asked = { model, messages: said("add 7 and 9"), response_format: zodResponseFormat(Sum, "sum") };
  const { parsed } = (await client.chat.completions.parse(asked)).choices[0].message;
  assert.deepEqual(parsed, { left: 7, operator: "add", note: "add 7 and 9" });
});

test("structured output: parse of a stream", async () => {
  const asked = { model, messages: said("add 7 and 9"), response_format: zodResponseFormat(Sum, "sum") };
  const { parsed } = (await client.chat.completions.stream(asked).finalChatCompletion()).choices[0].message;
  assert.equal(parsed.left, 7);
});

test("completions, plain and streaming", async () => {
  const plain = await client.completions.create({ model, prompt: ["one", "two"] });
  assert.deepEqual(plain.choices.map((choice) => choice.text), ["You said: one", "You said: two"]);
  const chunks = await all(await client.completions.create({ model, prompt: "one", stream: true }));
  assert.equal(chunks.map((chunk) => chunk.choices[0].text).join(""), "You said: one");
});

test("embeddings, as floats and as the client's own base64", async () => {
  const asked = { model, input: ["one", "two"], dimensions: 8 };
  const decoded = await client.embeddings.create(asked);
  const floats = await client.embeddings.create({ ...asked, encoding_format: "float" });
  assert.deepEqual(decoded.data.map(({ embedding }) => embedding), floats.data.map(({ embedding }) => embedding));
  assert.equal(decoded.data[1].embedding.length, 8);
});

for (const store of [false, true]) {
  test(`responses, store ${store}`, async () => {
    const answer = await client.responses.create({ model, input: "hello", store });
    assert.equal(answer.output_text, "You said: hello");
    assert.equal(answer.store, store);
  });

  test(`responses: stream, store ${store}`, async () => {
    const events = await all(await client.responses.create({ model, input: "hello there", store, stream: true }));
    assert.deepEqual(events.map((event) => event.sequence_number), events.map((_, index) => index));
    assert.equal(events.filter(({ type }) => type === "response.output_text.delta").map(({ delta }) => delta).join(""), "You said: hello there");
    assert.equal(events.at(-1).type, "response.completed");
  });
}

test("responses: the stream helper, a tool and its answer", async () => {
  const tools = [{ type: "function", strict: true, ...weather }];
  const first = await client.responses.stream({ model, input: "Bern", tools, store: false }).finalResponse();
  const [call] = first.output;
  assert.deepEqual(JSON.parse(call.arguments), { place: "Bern" });
  const input = [{ role: "user", content: "Bern" }, call, { type: "function_call_output", call_id: call.call_id, output: "rain" }];
  assert.equal((await client.responses.create({ model, input, tools, store: false })).output_text, "You said: rain");
});

test("responses: parse", async () => {
  const answer = await client.responses.parse({ model, input: "add 7", store: false, text: { format: zodTextFormat(Sum, "sum") } });
  assert.equal(answer.output_parsed.left, 7);
});

test("files: up, described, down, deleted, gone", async () => {
  const bytes = Buffer.from([0, 255, 13, 10, 10, 0x85, 200]);
  const file = await client.files.create({ file: await OpenAI.toFile(bytes, "odd name é.bin"), purpose: "user_data" });
  assert.equal((await client.files.retrieve(file.id)).filename, "odd name é.bin");
  assert.deepEqual(Buffer.from(await (await client.files.content(file.id)).arrayBuffer()), bytes);
  assert.equal((await client.files.delete(file.id)).deleted, true);
  await assert.rejects(client.files.retrieve(file.id), OpenAI.NotFoundError);
});

test("fifty at once, each its own answer", async () => {
  const asked = Array.from({ length: 50 }, (_, index) => client.chat.completions.stream({ model, messages: said(`number ${index}`) }).finalContent());
  assert.deepEqual(await Promise.all(asked), asked.map((_, index) => `You said: number ${index}`));
});

// Last, since a student that fails so often is left alone for a while.
const errors = {
  400: OpenAI.BadRequestError, 401: OpenAI.AuthenticationError, 403: OpenAI.PermissionDeniedError, 404: OpenAI.NotFoundError,
  409: OpenAI.ConflictError, 422: OpenAI.UnprocessableEntityError, 429: OpenAI.RateLimitError, 500: OpenAI.InternalServerError,
  503: OpenAI.InternalServerError,
};
for (const [status, kind] of Object.entries(errors)) {
  for (const stream of [false, true]) {
    test(`an upstream's ${status} is the client's ${kind.name}, stream ${stream}`, async () => {
      const asked = client.chat.completions.create({ model, messages: said(`Refuse with ${status}`), stream });
      await assert.rejects(asked, (error) => error instanceof kind && error.status === Number(status) && error.type !== undefined);
    });
  }
}

test("what is no request is refused in the envelope", async () => {
  await assert.rejects(client.chat.completions.create({ model, messages: [] }), (error) => {
    assert.ok(error instanceof OpenAI.BadRequestError);
    assert.deepEqual(Object.keys(error.error).sort(), ["code", "message", "param", "type"]);
    return true;
  });
});
