// GitHub's own parser and expression language, for language.py: one JSON request per line in, one JSON answer out.
//
// A parsed file is plain JSON in which an expression is {"$": "its text"}; `if` is always one, with the status function
// that GitHub adds where it has none.
import { readFileSync } from "node:fs";
import { registerHooks } from "node:module";
import { createInterface } from "node:readline";

// The parser imports its schemas as modules without saying that they are JSON, which Node insists on.
registerHooks({
  load: (url, context, next) =>
    next(url, url.endsWith(".json") ? { ...context, importAttributes: { type: "json" } } : context),
});

const { convertWorkflowTemplate, NoOperationTraceWriter, parseWorkflow } = await import("@actions/workflow-parser");
const { parseAction } = await import("@actions/workflow-parser/actions/action-parser");
const { convertActionTemplate } = await import("@actions/workflow-parser/actions/action-template");
const { convertToIfCondition } = await import("@actions/workflow-parser/model/converter/if-condition");
const { data, Evaluator, Lexer, Parser } = await import("@actions/expressions");
const { replacer } = await import("@actions/expressions/data/replacer");
const { reviver } = await import("@actions/expressions/data/reviver");
const { falsy } = await import("@actions/expressions/result");

const STATUS_FUNCTIONS = ["success", "failure", "cancelled", "always"];

function plain(context, token, key) {
  const json = token.toJSON();
  if (key === "if") return { $: convertToIfCondition(context, token)?.expression };
  if (json?.type === 1) return [...token].map((item) => plain(context, item));
  if (json?.type === 2) {
    return Object.fromEntries([...token].map((pair) => [pair.key.toString(), plain(context, pair.value, pair.key.toString())]));
  }
  if (json?.type === 3) return { $: json.expr };
  return json ?? null;
}

function errors(context) {
  return context.errors.getErrors().map((error) => error.message);
}

async function parse({ root, path, kind }) {
  const read = (name) => ({ name, content: readFileSync(`${root}/${name}`, "utf8") });
  const parsed = (kind === "action" ? parseAction : parseWorkflow)(read(path), new NoOperationTraceWriter());
  if (parsed.value === undefined) return { errors: errors(parsed.context) };
  if (kind === "action") {
    convertActionTemplate(parsed.context, parsed.value);
  } else {
    // With the workflows it calls, so that GitHub's parser compares their inputs.
    const provider = { getFileContent: async (reference) => read(reference.path) };
    await convertWorkflowTemplate(parsed.context, parsed.value, provider, { fetchReusableWorkflowDepth: 1 });
  }
  const found = errors(parsed.context);
  return found.length ? { errors: found } : { errors: [], value: plain(parsed.context, parsed.value) };
}

function evaluate({ value, contexts, status }) {
  const names = Object.keys(contexts);
  const dictionary = JSON.parse(JSON.stringify(contexts), reviver);
  const functions = new Map(
    STATUS_FUNCTIONS.filter((name) => status && name in status).map((name) => [
      name,
      { name, minArgs: 0, maxArgs: 0, call: () => new data.BooleanData(status[name]) },
    ]),
  );
  const one = (text) => {
    const tokens = new Lexer(text).lex().tokens;
    const tree = new Parser(tokens, names, [...functions.values()]).parse();
    return new Evaluator(tree, dictionary, functions).evaluate();
  };
  const all = (node) => {
    if (node === null || typeof node !== "object") return { json: node, text: JSON.parse(JSON.stringify(node), reviver).coerceString() };
    if (Array.isArray(node)) return { json: node.map((item) => all(item).json) };
    if ("$" in node) {
      const result = one(node.$);
      return { json: JSON.parse(JSON.stringify(result, replacer)), text: result.coerceString(), truthy: !falsy(result) };
    }
    const entries = Object.entries(node).map(([key, item]) => [key, all(item)]);
    return {
      json: Object.fromEntries(entries.map(([key, item]) => [key, item.json])),
      texts: Object.fromEntries(entries.map(([key, item]) => [key, item.text])),
    };
  };
  return all(value);
}

for await (const line of createInterface({ input: process.stdin })) {
  const request = JSON.parse(line);
  let answer;
  try {
    answer = request.op === "parse" ? await parse(request) : evaluate(request);
  } catch (error) {
    answer = { failure: error.message };
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
