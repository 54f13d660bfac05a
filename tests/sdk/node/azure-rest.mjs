// The npm package @azure-rest/ai-inference on …/models: it sends its key in two headers.
import ModelClient, { isUnexpected } from "@azure-rest/ai-inference";
import { createRestError } from "@azure-rest/core-client";
import { AzureKeyCredential } from "@azure/core-auth";
import { createSseStream } from "@azure/core-sse";
import { converse, play, refused, tooLong, untilLimited } from "./acts.mjs";

// The package speaks https alone unless it is told otherwise; the gateways here are on loopback.
function connect(url, key, maxRetries = 0) {
  return ModelClient(`${url}/models`, new AzureKeyCredential(key), {
    allowInsecureConnection: true,
    retryOptions: { maxRetries },
  });
}

const told = (error) => ({
  type: error.name,
  natural: error.name === "RestError",
  status: error.statusCode,
  code: error.code,
  message: error.message,
  retryAfter: error.response?.headers?.get?.("retry-after"),
});

async function post(client, path, body) {
  const response = await client.path(path).post({ body });
  if (isUnexpected(response)) throw createRestError(response);
  return response.body;
}

async function ask(client, model, messages, more = {}) {
  const done = await post(client, "/chat/completions", { model, messages, ...more });
  return done.choices[0].message.content;
}

const user = (content) => [{ role: "user", content }];

await play({
  whole: ({ url, key, model, questions }) =>
    converse(questions, (messages) => ask(connect(url, key), model, messages)),

  streamed: ({ url, key, model, questions }) =>
    converse(questions, async (messages) => {
      const response = await connect(url, key)
        .path("/chat/completions")
        .post({ body: { model, messages, stream: true } })
        .asNodeStream();
      if (response.status !== "200") {
        response.body.destroy();
        throw new Error(`status ${response.status}`);
      }
      let said = "";
      let last;
      for await (const event of createSseStream(response.body)) {
        last = event.data;
        if (last === "[DONE]") break;
        said += JSON.parse(last).choices[0]?.delta?.content ?? "";
      }
      if (last !== "[DONE]") throw new Error(`ended with ${last}`);
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
    const asked = await post(client, "/chat/completions", { model, messages, tools });
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
    const made = await post(connect(url, key), "/embeddings", { model: embedder, input: texts });
    return made.data.map((one) => one.embedding);
  },

  async info({ url, key }) {
    const response = await connect(url, key).path("/info").get();
    if (isUnexpected(response)) throw createRestError(response);
    return Object.keys(response.body);
  },
});
