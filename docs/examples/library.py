"""Examples of the Python library, a part for each name of it: they stand on docs/library.md, and a
test runs them from top to bottom. A part is headed by the names that it shows.

They expect a server at http://127.0.0.1:8000/v1 (`journal fake-server` is one), a result file of
`vllm bench serve` named bench.json, and a log of vLLM named start.log.
"""

from pathlib import Path

import journal

# journal.demo, journal.LogFiles
files = journal.demo("demo")  # a recorded journal: two tiny models, 36 runs
print(files.markdown, files.html)

# journal.runs
frame = journal.runs("demo")  # a DataFrame, a row for each run
print(frame.groupby(["model", "batch"])["output_tokens_per_s"].mean())

# journal.open_store, journal.Record, journal.Cell, journal.Samples
with journal.open_store(Path("demo")) as store:
    records = store.runs()
    samples = store.samples(records[-1].id)
for record in records[:3]:
    print(record.id[:8], record.cell.batch, record.cell.prompt_tokens, record.status)
print(len(samples.traces), "requests, the first in", samples.traces[0].end_s, "s")

# journal.Figure
ttft = records[-1].metrics["ttft_s.p50"]
print(f"TTFT {ttft.value} s, in 95% between {ttft.low} and {ttft.high}, of {ttft.count} requests")

# journal.compare, journal.Comparison
comparison = journal.compare("tiny-random-mistral", "tiny-random-llama", "demo")
print(comparison)

# journal.check, journal.Gate
gate = journal.check(
    "tiny-random-mistral", "tiny-random-llama", "demo", limits={"ttft_s.p50": 0.10}
)
print(gate.outcome, dict(gate.hindrances))

# journal.Slo, journal.whatif, journal.Supposed, journal.Capacity
for supposed in journal.whatif(journal.Slo(ttft_ms=300, tpot_ms=50), "demo"):
    capacity = supposed.capacity
    print(capacity.cell.model, capacity.holds_up_to, "to", capacity.breaks_from, capacity.of)

# journal.split, journal.Split
split = journal.split(records)
for part in split.parts if split else ():
    print(part.name, part.bytes, part.source)

# journal.run_json, journal.benchmark_report
print(journal.run_json(records[-1])["ttft_s"]["p50"])
print(journal.benchmark_report(records[-1])["version"])

# journal.log
of_experiment = journal.log("demo", experiment="last", lang="zh")
print(of_experiment.html)

# journal.quiz, journal.QuizQuestion
questions = journal.quiz("demo")
for question in questions:
    print(question.name, question.text(), "within", question.tolerance)

# journal.answer_quiz, journal.QuizAnswer
judged = journal.answer_quiz("kv_room", "12", "demo")
print(judged.right, judged.text("zh"))

# journal.note, journal.Note
note = journal.note("TTFT grows with the prompt.", "demo", run=records[-1].id)
print(note.day, note.text)

# journal.tag, journal.tags, journal.untag, journal.Tag
baseline = journal.tag("baseline", f"run:{records[-1].id}", home="demo")
print(baseline.name, baseline.run_ids, len(journal.tags("demo")))
journal.untag("baseline", "demo")

# journal.checklist, journal.Step
for step in journal.checklist("demo")[:3]:
    print(step.as_json())

# journal.export, journal.export_reports
print(journal.export(Path("runs.csv"), "demo"), "runs")
print(journal.export_reports(Path("reports"), "demo"), "reports")

# journal.verify, journal.Verified
verified = journal.verify("demo")
print(verified.rows, "rows")

# journal.recompute
changed = journal.recompute("demo", records[-1].id)  # without an id: every run
print(len(changed), "runs have new figures")

# journal.merge, journal.Merged
merged = journal.merge("demo", "team")
print(merged.runs, "runs")

# journal.compact, journal.Compacted
compacted = journal.compact("team", older_than_days=0, dry_run=True)
print(compacted.requests, "requests would move to Parquet")

# journal.import_results, journal.Imported
imported = journal.import_results("bench.json", "team")
print(len(imported.new), "of", len(imported.records), "runs are new")

# journal.explain, journal.Explanation
explanation = journal.explain("start.log")
print(explanation.engine_version, explanation.weights_bytes, explanation.kv_pool_tokens)

# journal.fit, journal.Fit
fit = journal.fit("mistralai/Mistral-7B-Instruct-v0.2", gpu="L40S", context=8192, batch=8)
print(fit.answer, fit.kv_bytes_per_token)

# journal.Experiment, journal.Engine, journal.Grid, journal.Load, journal.Workload
experiment = journal.Experiment(
    name="from a script",
    engines=(journal.Engine(model="mistralai/Mistral-7B-Instruct-v0.2"),),
    grid=journal.Grid(batch=(1, 4), prompt_tokens=(16,), output_tokens=(8,)),
    load=journal.Load(requests=8, warmup=1),
    workload=journal.Workload(shared_prefix=8),
)

# journal.Part, journal.Variant
parts = (
    journal.Part(prompt_tokens="16..64", output_tokens=8, weight=3),
    journal.Part(prompt_tokens=256, output_tokens=8),
)
mixed = journal.Workload(mix=parts)
variants = (
    journal.Variant(name="free"),
    journal.Variant(name="JSON", body={"response_format": {"type": "json_object"}}),
)
compared = journal.Load(requests=8, variants=variants)

# journal.plan, journal.Plan, journal.Cost
plan = journal.plan(experiment)
print(plan.cost.requests, "requests in", plan.cost.cells, "cells")

# journal.run_time, journal.RunTime
time = journal.run_time(plan, "lab")
print(time.total_s, "s by", time.runs, "runs of this journal")

# journal.load_experiment
quickstart = journal.load_experiment("quickstart")
print(quickstart.question)

# journal.attach, journal.Endpoint
endpoint = journal.attach("http://127.0.0.1:8000/v1")
print(endpoint.model, endpoint.max_model_len)

# journal.run, journal.Result, journal.Event
events: list[journal.Event] = []
result = journal.run(experiment, "lab", endpoint=endpoint, listener=events.append)
print(result)
print(len(events), "events, the last of stage", events[-1].stage)

# journal.Needed
# Empty unless the experiment has needed_vram=True, for which the journal starts the engine itself.
for needed in result.needed:
    print(needed.cell.batch, needed.least, needed.theory_bytes)

# journal.try_change, journal.Tried
try:
    for tried in journal.try_change("last", "lab"):
        print(tried.trial.setting, tried.verdict, tried.ratio)
except journal.UsageError as error:  # the settings of an endpoint are not the journal's
    print(error)

# journal.ask, journal.Question, journal.Interaction
hello = ({"role": "user", "content": "Why is the sky blue?"},)
question = journal.Question(base_url=endpoint.base_url, model=endpoint.model, messages=hello)
for interaction in journal.ask(question):  # the answer as far as it has come
    answer = interaction.answer
print(answer, interaction.ttft_s)

# journal.observe, journal.watch, journal.Look
observed = journal.observe("http://127.0.0.1:8000/v1")
with journal.watch(observed) as watched:
    look = watched.look()
print(look.running, "running", look.waiting, "waiting")

# journal.serve
with journal.serve("mistralai/Mistral-7B-Instruct-v0.2", "lab") as served:
    print(served.base_url)

# journal.doctor, journal.Checkup, journal.checkup_verdict
checkup = journal.doctor("lab")
print(journal.checkup_verdict(checkup))

# journal.JournalError, journal.UsageError, journal.NotFound, journal.StoreError
for wrong in (
    lambda: journal.check("a", "b", "demo", limits={"ttft": 0.1}),  # UsageError
    lambda: journal.compare("no such model", "tiny-random-llama", "demo"),  # NotFound
    lambda: journal.open_store(Path("demo"), "no address"),  # StoreError
):
    try:
        wrong()
    except journal.JournalError as error:
        print(type(error).__name__, error.exit_code, error)

# journal.SpecError, journal.MissingExtra, journal.Unfit, journal.EngineError, journal.EndpointError
try:
    journal.run("no-such-experiment", "lab")
except journal.SpecError as error:  # an experiment that cannot be run
    print(error)
except journal.MissingExtra as error:  # an optional part, such as the model, is not installed
    print(error)
except journal.Unfit as error:  # with strict=True: the machine is too disturbed
    print(error)
except journal.EngineError as error:  # the engine did not start, or died
    print(error, error.log_tail)
except journal.EndpointError as error:  # the server does not answer as an OpenAI-compatible one
    print(error)
