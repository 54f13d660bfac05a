// Vercel's packages ai and @ai-sdk/azure on …/openai.
import { createAzure } from "@ai-sdk/azure";
import { APICallError, RetryError, embedMany, generateText, jsonSchema, streamText, tool } from "ai";
import { converse, play, refused, tooLong, untilLimited } from "./acts.mjs";

const connect = (url, key) => createAzure({ baseURL: `${url}/openai`, apiKey: key });

function told(error) {
  const call = RetryError.isInstance(error) ? error.lastError : error;
  return {
    type: call.name,
    natural: APICallError.isInstance(call),
    status: call.statusCode,
    code: call.data?.error?.code,
    message: call.message,
    retryAfter: call.responseHeaders?.["retry-after"],
  };
}

async function ask(model, messages, maxRetries = 0) {
  return (await generateText({ model, messages, maxRetries })).text;
}

async function stream(model, messages) {
  let failure;
  const onError = ({ error }) => (failure = error);
  const streaming = streamText({ model, messages, maxRetries: 0, onError });
  let said = "";
  for await (const piece of streaming.textStream) said += piece;
  if (failure) throw failure;
  if ((await streaming.finishReason) !== "stop") throw new Error(await streaming.finishReason);
  return said;
}

async function callTool(model, { question, name, parameters, result }, providerOptions) {
  const tools = { [name]: tool({ inputSchema: jsonSchema(parameters) }) };
  const messages = user(question);
  const more = { model, tools, maxRetries: 0, providerOptions };
  const asked = await generateText({ ...more, messages });
  const call = asked.toolCalls[0];
  const output = { type: "text", value: result };
  messages.push(...asked.response.messages, {
    role: "tool",
    content: [
      { type: "tool-result", toolCallId: call.toolCallId, toolName: call.toolName, output },
    ],
  });
  const done = await generateText({ ...more, messages });
  return {
    name: call.toolName,
    arguments: JSON.stringify(call.input),
    reason: asked.finishReason,
    said: done.text,
  };
}

const user = (content) => [{ role: "user", content }];

await play({
  whole: ({ url, key, model, questions }) =>
    converse(questions, (messages) => ask(connect(url, key).chat(model), messages)),

  streamed: ({ url, key, model, questions }) =>
    converse(questions, (messages) => stream(connect(url, key).chat(model), messages)),

  tool: ({ url, key, model, tool: asked }) => callTool(connect(url, key).chat(model), asked),

  policy: ({ url, key, model, card }) =>
    refused(() => ask(connect(url, key).chat(model), user(card)), told),

  wrongKey: ({ url, wrongKey, model }) =>
    refused(() => ask(connect(url, wrongKey).chat(model), user("hi")), told),

  wrongModel: ({ url, key }) =>
    refused(() => ask(connect(url, key).chat("gpt-5000"), user("hi")), told),

  tooLong: ({ url, key, model }) =>
    refused(() => ask(connect(url, key).chat(model), user(tooLong)), told),

  limited: ({ limitedUrl, limitedKey, model, questions }) =>
    untilLimited(
      () => ask(connect(limitedUrl, limitedKey).chat(model), user(questions[0])),
      () => ask(connect(limitedUrl, limitedKey).chat(model), user(questions[0]), 3),
      told,
    ),

  // Only where deployments are in the path does this package reach an embeddings path of Azure's.
  async embeddings({ url, key, embedder, texts }) {
    const options = { baseURL: `${url}/openai`, apiKey: key, useDeploymentBasedUrls: true };
    const model = createAzure(options).embedding(embedder);
    return (await embedMany({ model, values: texts, maxRetries: 0 })).embeddings;
  },

  responses: ({ url, key, model, questions }) =>
    converse(questions, (messages) => ask(connect(url, key).responses(model), messages)),

  responsesStreamed: ({ url, key, model, questions }) =>
    converse(questions, (messages) => stream(connect(url, key).responses(model), messages)),

  // Nothing is kept at the provider, so the call's items travel whole, as they do with store: false.
  responsesTool: ({ url, key, model, tool: asked }) =>
    callTool(connect(url, key).responses(model), asked, { azure: { store: false } }),

  // Without it the package refers to the answer by its id, as if the provider had kept it.
  referred: ({ url, key, model: name, questions }) =>
    refused(async () => {
      const model = connect(url, key).responses(name);
      const messages = user(questions[0]);
      const first = await generateText({ model, messages, maxRetries: 0 });
      messages.push(...first.response.messages, ...user(questions[1]));
      return ask(model, messages);
    }, told),

  responsesPolicy: ({ url, key, model, card }) =>
    refused(() => ask(connect(url, key).responses(model), user(card)), told),
});
