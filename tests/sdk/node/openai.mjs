// The npm package openai: OpenAI on …/v1 and AzureOpenAI on the gateway's own address.
import OpenAI, { APIError, AzureOpenAI } from "openai";
import { converse, play, refused, tooLong, untilLimited } from "./acts.mjs";

const azure = process.argv[2] === "azure";

function connect(url, key, maxRetries = 0) {
  return azure
    ? new AzureOpenAI({ endpoint: url, apiKey: key, apiVersion: "2024-10-21", maxRetries })
    : new OpenAI({ baseURL: `${url}/v1`, apiKey: key, maxRetries });
}

const told = (error) => ({
  type: error.constructor.name,
  natural: error instanceof APIError,
  status: error.status,
  code: error.code,
  message: error.message,
  retryAfter: error.headers?.get("retry-after"),
});

async function ask(client, model, messages, more = {}) {
  const done = await client.chat.completions.create({ model, messages, ...more });
  return done.choices[0].message.content;
}

const user = (content) => [{ role: "user", content }];

await play({
  whole: ({ url, key, model, questions }) =>
    converse(questions, (messages) => ask(connect(url, key), model, messages)),

  streamed: ({ url, key, model, questions }) =>
    converse(questions, async (messages) => {
      const events = await connect(url, key).chat.completions.create({
        model,
        messages,
        stream: true,
      });
      let said = "";
      for await (const event of events) said += event.choices[0]?.delta?.content ?? "";
      return said;
    }),

  async tool({ url, key, model, tool }) {
    const client = connect(url, key);
    const messages = user(tool.question);
    const tools = [
      {
        type: "function",
        function: { name: tool.name, description: tool.name, parameters: tool.parameters },
      },
    ];
    const asked = await client.chat.completions.create({ model, messages, tools });
    const { message, finish_reason: reason } = asked.choices[0];
    const call = message.tool_calls[0];
    messages.push(message, { role: "tool", tool_call_id: call.id, content: tool.result });
    const said = await ask(client, model, messages, { tools });
    return { name: call.function.name, arguments: call.function.arguments, reason, said };
  },

  policy: ({ url, key, model, card }) =>
    refused(() => ask(connect(url, key), model, user(card)), told),

  wrongKey: ({ url, wrongKey, model }) =>
    refused(() => ask(connect(url, wrongKey), model, user("hi")), told),

  wrongModel: ({ url, key }) =>
    refused(() => ask(connect(url, key), "gpt-5000", user("hi")), told),

  tooLong: ({ url, key, model }) =>
    refused(() => ask(connect(url, key), model, user(tooLong)), told),

  limited: ({ limitedUrl, limitedKey, model, questions }) =>
    untilLimited(
      () => ask(connect(limitedUrl, limitedKey), model, user(questions[0])),
      () => ask(connect(limitedUrl, limitedKey, 3), model, user(questions[0])),
      told,
    ),

  async embeddings({ url, key, embedder, texts }) {
    const client = connect(url, key);
    const made = await client.embeddings.create({ model: embedder, input: texts });
    return made.data.map((one) => one.embedding);
  },

  responses: ({ url, key, model, questions }) =>
    converse(questions, async (input) => {
      const done = await connect(url, key).responses.create({ model, input });
      return done.output_text;
    }),

  responsesStreamed: ({ url, key, model, questions }) =>
    converse(questions, async (input) => {
      const events = await connect(url, key).responses.create({ model, input, stream: true });
      let said = "";
      let end;
      for await (const event of events) {
        if (event.type === "response.output_text.delta") said += event.delta;
        end = event.type;
      }
      if (end !== "response.completed") throw new Error(`ended with ${end}`);
      return said;
    }),

  async responsesTool({ url, key, model, tool }) {
    const client = connect(url, key);
    const input = user(tool.question);
    const tools = [
      { type: "function", name: tool.name, parameters: tool.parameters, strict: false },
    ];
    const asked = await client.responses.create({ model, input, tools });
    const call = asked.output.find((item) => item.type === "function_call");
    input.push(...asked.output, {
      type: "function_call_output",
      call_id: call.call_id,
      output: tool.result,
    });
    const done = await client.responses.create({ model, input, tools });
    return { name: call.name, arguments: call.arguments, said: done.output_text };
  },

  responsesPolicy: ({ url, key, model, card }) =>
    refused(() => connect(url, key).responses.create({ model, input: card }), told),

  async models({ url, key }) {
    const names = [];
    for await (const model of connect(url, key).models.list()) names.push(model.id);
    return names;
  },
});
