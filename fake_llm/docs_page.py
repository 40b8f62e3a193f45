"""A page that shows the control API by its OpenAPI document. It loads nothing from anywhere else."""

from __future__ import annotations

POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'"

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>fake LLM: control API</title>
<style>
body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222;background:#fff}
details{border:1px solid #ccc;border-radius:4px;margin:.4rem 0;padding:.3rem .8rem}
summary{cursor:pointer}b.verb{display:inline-block;width:4.5rem}code,pre{font:13px ui-monospace,monospace}
pre{background:#f4f4f4;padding:.6rem;overflow:auto}
</style></head><body><h1>fake LLM: control API</h1>
<p>From <a href="openapi.json">openapi.json</a>.</p><div id="paths"></div><h2>Forms</h2><div id="forms"></div>
<script>
const make = (tag, text) => { const found = document.createElement(tag); found.textContent = text ?? ""; return found };
const fold = (head, ...inside) => {
  const found = make("details"), summary = make("summary");
  summary.append(...head); found.append(summary, ...inside); return found };
const shown = value => make("pre", JSON.stringify(value, null, 1));
fetch("openapi.json").then(answer => answer.json()).then(api => {
  for (const [path, verbs] of Object.entries(api.paths)) for (const [verb, told] of Object.entries(verbs)) {
    const name = make("b", verb.toUpperCase()); name.className = "verb";
    const inside = [make("p", told.description || told.summary)];
    if (told.parameters) inside.push(make("h4", "Parameters"), shown(told.parameters));
    if (told.requestBody) inside.push(make("h4", "Body"), shown(told.requestBody.content));
    paths.append(fold([name, make("code", path)], ...inside));
  }
  for (const [name, form] of Object.entries(api.components?.schemas ?? {}))
    forms.append(fold([make("code", name), " " + (form.description ?? "")], shown(form)));
}).catch(problem => paths.append(make("p", "The document could not be read: " + problem)));
</script></body></html>
"""
