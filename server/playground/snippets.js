// A request as a command or a program that works when it is pasted. A key is named, never written.

const VARIABLE = "DEMUR_API_KEY";

/** One `curl` command for a POSIX shell. */
export function curl(base, body, hasKey) {
  const lines = [
    `curl -s ${quoted(`${base}/chat/completions`)}`,
    "-H 'content-type: application/json'",
    ...(hasKey ? [`-H "authorization: Bearer $${VARIABLE}"`] : []),
    `-d ${quoted(JSON.stringify(body, null, 2))}`,
  ];
  return `${lines.join(" \\\n  ")}\n`;
}

/** A program for OpenAI's SDK. */
export function python(base, body, hasKey) {
  const { model, messages, ...ours } = body;
  const extra = Object.keys(ours).length > 0 ? [`    extra_body=${literal(ours)},`] : [];
  return [
    ...(hasKey ? ["import os", ""] : []),
    "from openai import OpenAI",
    "",
    `client = OpenAI(base_url=${literal(base)}, api_key=${hasKey ? `os.environ["${VARIABLE}"]` : '"none"'})`,
    "completion = client.chat.completions.create(",
    `    model=${literal(model)},`,
    `    messages=${literal(messages)},`,
    ...extra,
    ")",
    "message = completion.choices[0].message",
    "print(message.refusal or message.content)",
    "",
  ].join("\n");
}

/** JSON without true, false and null, which a request here has none of, is Python too. */
function literal(value) {
  return JSON.stringify(value, null, 4).replaceAll("\n", "\n    ");
}

function quoted(text) {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}
