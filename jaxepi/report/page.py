"""Pages of the reports: each one HTML file that needs nothing else. Every value is escaped by the template engine."""

HEAD = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ title }}</title>
<style>
:root { --ink: #222; --soft: #5a5a5a; --line: #ddd; --accent: #0072B2; }
* { box-sizing: border-box; }
body { font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; color: var(--ink); background: #fff;
  max-width: 66rem; margin: 0 auto; padding: 1.5rem 1rem 4rem; }
h1 { font-size: 1.6rem; margin: 0 0 .2rem; overflow-wrap: anywhere; }
h2 { font-size: 1.25rem; margin: 2.6rem 0 .6rem; padding-top: .8rem; border-top: 2px solid var(--ink); }
h3 { font-size: 1rem; margin: 1.8rem 0 .4rem; }
p, figcaption, .soft { color: var(--soft); }
nav a { margin-right: 1rem; color: var(--accent); }
.cards { display: flex; flex-wrap: wrap; gap: .8rem; margin: 1rem 0; }
.card { border: 1px solid var(--line); border-radius: 6px; padding: .5rem .9rem; min-width: 9rem; }
.card b { display: block; font-size: 1.5rem; font-variant-numeric: tabular-nums; }
.card span { font-size: .8rem; color: var(--soft); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .88rem; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .28rem .6rem .28rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
th { font-weight: 600; } td.w { min-width: 13rem; } td.n, th.n { text-align: right; white-space: nowrap; }
.facts th { width: 11rem; color: var(--soft); font-weight: 500; } .facts td { overflow-wrap: anywhere; }
figure { margin: 1rem 0 1.6rem; } figure img { max-width: 100%; height: auto; display: block; }
figcaption { font-size: .88rem; max-width: 46rem; margin-top: .3rem; }
details { margin: 1rem 0; } summary { cursor: pointer; color: var(--accent); }
pre { font-size: .8rem; overflow-x: auto; background: #f7f7f7; padding: .8rem; border-radius: 6px; }
.note { white-space: pre-line; border-left: 4px solid #E69F00; padding: .1rem 0 .1rem 1rem; }
@media print { body { max-width: none; padding: 0; font-size: 10pt; } nav, summary { display: none; }
  figure, tr, .card { break-inside: avoid; } h2, h3 { break-after: avoid; } .scroll { overflow: visible; } }
</style>
</head>
"""

PAGE = (
    HEAD
    + """<body>
<h1>{{ title }}</h1>
<p>{{ subtitle }}</p>
<nav>{% for section in sections %}<a href="#{{ section.anchor }}">{{ section.name }}</a>{% endfor %}</nav>
<div class="cards">
{% for card in cards %}<div class="card"><b>{{ card.value }}</b><span>{{ card.name }}</span></div>
{% endfor %}</div>
{% if note %}<h3>What can be expected</h3>
<div class="note">{{ note }}</div>
{% endif %}
<h3>The run</h3>
<div class="scroll"><table class="facts">
{% for name, value in facts %}<tr><th>{{ name }}</th><td>{{ value }}</td></tr>
{% endfor %}</table></div>
<details><summary>Configuration</summary><pre>{{ config }}</pre></details>
{% for figure in training_figures %}{{ figure_block(figure) }}{% endfor %}
{% for section in sections %}
<h2 id="{{ section.anchor }}">{{ section.name }}</h2>
<p>{{ section.about }}</p>
<div class="scroll"><table>
<tr><th>metric</th>{% if section.single %}<th class="n">value</th>{% else %}
<th class="n">mean over tracks</th><th class="n">&plusmn; sd</th><th class="n">tracks</th>
<th class="n">all values together</th>{% endif %}
{% if section.has_best %}<th class="n">best possible{% if not section.single %}<br>(mean over tracks){% endif %}</th>
{% endif %}<th>what it is</th></tr>
{% for row in section.rows %}<tr><td>{{ row.name }}</td><td class="n">{{ row.mean }}</td>{% if not section.single %}
<td class="n">{{ row.sd }}</td><td class="n">{{ row.tracks }}</td><td class="n">{{ row.flat }}</td>{% endif %}
{% if section.has_best %}<td class="n">{{ row.best }}</td>{% endif %}<td class="w">{{ row.what }}</td></tr>
{% endfor %}</table></div>
{% if section.undefined %}<details>
<summary>{{ section.undefined_count }} undefined values, each with its reason
{% if section.undefined_count > section.undefined|length %}
(the first {{ section.undefined|length }} of them){% endif %}</summary>
<div class="scroll"><table><tr><th>metric</th><th>track</th><th>reason</th></tr>
{% for row in section.undefined %}<tr>{% for cell in row %}<td>{{ cell }}</td>{% endfor %}</tr>
{% endfor %}</table></div></details>{% endif %}
{% if section.assays %}<h3>Assays, means over their tracks</h3>
<div class="scroll"><table><tr><th>assay</th><th class="n">tracks</th>
{% for name in section.assay_values %}<th class="n">{{ name }}</th>{% endfor %}</tr>
{% for row in section.assays %}<tr><td>{{ row.name }}</td><td class="n">{{ row.count }}</td>
{% for value in row.means %}<td class="n">{{ value }}</td>{% endfor %}</tr>
{% endfor %}</table></div>{% endif %}
{% if section.groups %}<h3>Parts of the records, means over tracks</h3>
<div class="scroll"><table><tr><th>part</th><th class="n">values</th>
{% for name in section.group_values %}<th class="n">{{ name }}</th>{% endfor %}</tr>
{% for row in section.groups %}<tr><td>{{ row.name }}</td><td class="n">{{ row.count }}</td>
{% for value in row.means %}<td class="n">{{ value }}</td>{% endfor %}</tr>
{% endfor %}</table></div>{% endif %}
{% for figure in section.figures %}{{ figure_block(figure) }}{% endfor %}
{% endfor %}
</body>
</html>
"""
)

FOLDS_PAGE = (
    HEAD
    + """<body>
<h1>{{ title }}</h1>
<p>{{ subtitle }}</p>
<div class="cards">
{% for card in cards %}<div class="card"><b>{{ card.value }}</b><span>{{ card.name }}</span></div>
{% endfor %}</div>
<p>{{ about }}</p>
<h3>The folds</h3>
<div class="scroll"><table>
<tr><th>held out</th><th class="n">{{ records }}</th><th>trained on</th><th class="n">step</th><th>report</th></tr>
{% for fold in folds %}<tr><td>{{ fold.name }}</td><td class="n">{{ fold.records }}</td><td>{{ fold.trained }}</td>
<td class="n">{{ fold.step }}</td><td><a href="{{ fold.link }}">{{ fold.name }}</a></td></tr>
{% endfor %}</table></div>
{% for figure in figures %}{{ figure_block(figure) }}{% endfor %}
<h3>Every metric</h3>
<p>Mean and standard deviation (n - 1) are over the folds. The column on their right takes the predictions of all folds
as one set, each by the model that did not see it: scores of different models are then compared with each other. A dash
stands for what is undefined, or cannot be told from the predictions alone.</p>
<div class="scroll"><table>
<tr><th>metric</th>{% for fold in folds %}<th class="n">{{ fold.name }}</th>{% endfor %}
<th class="n">mean &plusmn; sd</th><th class="n">all {{ records }}</th><th>what it is</th></tr>
{% for row in rows %}<tr><td>{{ row.name }}</td>
{% for value in row["values"] %}<td class="n">{{ value }}</td>{% endfor %}
<td class="n">{{ row.mean }}</td><td class="n">{{ row.together }}</td><td class="w">{{ row.what }}</td></tr>
{% endfor %}</table></div>
{% if notes %}<h3>Notes</h3>
<ul>{% for note in notes %}<li>{{ note }}</li>
{% endfor %}</ul>{% endif %}
</body>
</html>
"""
)

FIGURE = """<figure><h3>{{ figure.title }}</h3>
<img src="data:image/png;base64,{{ figure.data }}" alt="{{ figure.title }}" width="{{ figure.width }}">
<figcaption>{{ figure.caption }} <span class="soft">(figures/{{ figure.file }})</span></figcaption></figure>
"""
