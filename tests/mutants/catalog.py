"""The mutants: what is changed, where, and the tests that are to notice it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Mutant:
    """A small fault.

    Attributes:
        name: what the code does with it.
        file: where it is put, from the project's root.
        before: the text that it replaces, which stands there once.
        after: what it is replaced by.
        tests: those that are to fail, as pytest names them.
    """

    name: str
    file: str
    before: str
    after: str
    tests: tuple[str, ...]

    def mutate(self, text: str) -> str:
        """Return the file's text with the fault in it.

        Raises:
            ValueError: the text to be replaced does not stand in the file exactly once.
        """
        if (times := text.count(self.before)) != 1:
            raise ValueError(f"{self.name}: what it replaces stands {times} times in {self.file}")
        return text.replace(self.before, self.after)


RUNS = "tests/integration/test_runs.py"
STREAM = "tests/unit/distill/library/test_stream.py"
STORE = "tests/integration/test_store.py"
STEPS = "tests/integration/test_store_steps.py"
PLAN = "tests/integration/test_plan.py"
EMBEDDED = "tests/integration/test_embedded.py"
ROWS = "tests/integration/test_annotate_rows.py"
BATCH = "tests/integration/test_batch.py"
ANNOTATOR = "tests/integration/test_annotator.py"
THINKING = "tests/unit/teacher/llm/test_thinking.py"
ACCESS = "tests/unit/cluster/service/test_access.py"
LISTENING = "tests/unit/cluster/service/test_listening.py"
FLIGHTS = "tests/unit/cluster/service/test_single_flight.py"
ACCEPTANCE = "tests/unit/teacher/llm/test_acceptance.py"
CHECKS = "tests/unit/teacher/llm/test_validation.py"
IDENTITY = "tests/integration/test_identity.py"

MUTANTS = (
    # A run's life
    Mutant(
        "rows are noted as read before their molecules are registered",
        "cluster/annotation/plan.py",
        "    flags = store.register(",
        "    store.note_rows(job.run, source, range(rows[0]['row'], rows[-1]['row'] + 1), invalid)\n"
        "    flags = store.register(",
        (PLAN,),
    ),
    Mutant(
        "rows between those that were drawn count as read",
        "cluster/annotation/plan.py",
        '(item[1]["source"], item[1]["row"] - item[0])',
        'item[1]["source"]',
        (f"{PLAN}::test_rows_that_are_drawn_from_a_library_are_noted_one_by_one",),
    ),
    Mutant(
        "nobody says that Ray's process has died",
        "cluster/runtime/raylet.py",
        "read -r done && exit",
        "exit",
        ("tests/chaos/test_faults.py::test_a_run_on_this_machine_alone_resumes_after_a_fault",),
    ),
    Mutant(
        "a worker that is gone holds its GPUs for ever",
        "cluster/runs/workers.py",
        "min(worker.age, SIGN_SECONDS)",
        "worker.age",
        ("tests/integration/test_gpu_pool.py::test_workers_that_are_gone_are_counted_up_to_their_last_sign",),
    ),
    Mutant(
        "the parser's version is not part of what rows are remembered by",
        "cluster/annotation/plan.py",
        'f"{PARSER_VERSION} {rdkit.__version__} ',
        'f"{rdkit.__version__} ',
        (PLAN,),
    ),
    Mutant(
        "RDKit's version is not part of what rows are remembered by",
        "cluster/annotation/plan.py",
        'f"{PARSER_VERSION} {rdkit.__version__} ',
        'f"{PARSER_VERSION} ',
        (PLAN,),
    ),
    Mutant(
        "lengths of rows are not part of what they are remembered by",
        "cluster/annotation/plan.py",
        """    digest.update(b"".join(len(row["raw"]).to_bytes(4, "big") for row in rows))\n""",
        "",
        (PLAN,),
    ),
    Mutant(
        "a run gives one sign of life only",
        "cluster/runs/run.py",
        '            with run_periodically(BEAT_SECONDS, try_to_beat, "heartbeat"):\n                yield\n',
        "            yield\n",
        (f"{RUNS}::test_a_living_run_gives_signs_of_life_again_and_again",),
    ),
    Mutant(
        "a lost run that comes back stays lost",
        "cluster/runs/run.py",
        'if self._store.facts(self.id).get("state") == "lost":',
        "if False:",
        (f"{RUNS}::test_a_run_that_only_seemed_dead_loses_nothing",),
    ),
    Mutant(
        "lost runs are never buried",
        "cluster/runs/run.py",
        'if facts["state"] == "running" and run not in alive:',
        "if False:",
        (f"{RUNS}::test_a_lost_run_is_forgotten_after_a_day_and_its_ledger_stays",),
    ),
    Mutant(
        "a run whose process has died is waited for",
        "cluster/runs/run.py",
        "        if beat.process.has_died:\n            store.stop_heartbeat(run)\n",
        "        pass\n",
        (f"{RUNS}::test_a_run_whose_process_has_died_is_buried_at_once",),
    ),
    Mutant(
        "a ledger that does not add up finishes",
        "cluster/runs/run.py",
        "if ledger.rows != ledger.molecules + ledger.duplicates + ledger.invalid:",
        "if False:",
        (f"{RUNS}::test_a_ledger_that_does_not_add_up_is_no_finished_run",),
    ),
    Mutant(
        "a run that read fewer rows than there are finishes",
        "cluster/runs/run.py",
        "    if ledger.rows < rows:",
        "    if False:",
        (f"{RUNS}::test_a_run_that_read_fewer_rows_than_there_are_does_not_finish",),
    ),
    Mutant(
        "a store that came back empty is filled on",
        "cluster/runs/run.py",
        "        if not self._store.is_whole(self.id, self._store_id):",
        "        if False:",
        (f"{RUNS}::test_a_store_that_came_back_empty_is_noticed",),
    ),
    Mutant(
        "processes of other machines are taken for dead",
        "cluster/runtime/process.py",
        "        if not self.machine or self.machine != _machine():\n            return False\n",
        "",
        (f"{RUNS}::test_a_process_is_dead_when_its_number_belongs_to_another_or_to_nobody",),
    ),
    Mutant(
        "a process whose number another has is taken to live",
        "cluster/runtime/process.py",
        " or found[1] != self.began",
        "",
        (f"{RUNS}::test_a_process_is_dead_when_its_number_belongs_to_another_or_to_nobody",),
    ),
    Mutant(
        "--max-dead is off by one",
        "cluster/runs/limits.py",
        "if most is not None and dead + invalid > most:",
        "if most is not None and dead + invalid > most + 1:",
        (f"{ROWS}::test_rows_without_a_molecule_count_as_dead_letters",),
    ),
    Mutant(
        "--max-dead is off by one, the other way",
        "cluster/runs/limits.py",
        "if most is not None and dead + invalid > most:",
        "if most is not None and dead + invalid >= most:",
        (f"{ROWS}::test_rows_without_a_molecule_count_as_dead_letters",),
    ),
    # The store
    Mutant(
        "the embedded server does not sync",
        "cluster/store/embedded.py",
        '"appendfsync": "always"',
        '"appendfsync": "no"',
        (f"{EMBEDDED}::test_an_embedded_redis_is_on_the_disk_before_it_answers",),
    ),
    Mutant(
        "a server is started though another one holds the folder's lock",
        "cluster/store/embedded.py",
        "            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)\n        except BlockingIOError:",
        "            pass\n        except BlockingIOError:",
        (f"{EMBEDDED}::test_a_server_on_another_machine_is_named",),
    ),
    Mutant(
        "a store's folder stays open to others",
        "cluster/store/embedded.py",
        "            folder.chmod(0o700)\n",
        "",
        (f"{EMBEDDED}::test_a_folder_that_was_there_is_closed_to_others_or_refused",),
    ),
    Mutant(
        "a later record replaces the first",
        "cluster/store/lua/commit.lua",
        "changed = redis.pcall('HSETNX', keys[1], molecule, value)",
        "changed = redis.pcall('HSET', keys[1], molecule, value)",
        (STORE,),
    ),
    Mutant(
        "a dead letter comes beside a record",
        "cluster/store/lua/commit.lua",
        "elseif redis.call('HEXISTS', keys[1], molecule) == 0 and redis",
        "elseif redis",
        (STORE, STEPS),
    ),
    Mutant(
        "a molecule that is finished stays pending",
        "cluster/store/lua/commit.lua",
        "    redis.call('HDEL', keys[3], molecule)\n",
        "",
        (STORE,),
    ),
    Mutant(
        "what a living run holds is claimed",
        "cluster/store/lua/claim.lua",
        "      if alive[holder] then",
        "      if false then",
        (STORE, STEPS),
    ),
    Mutant(
        "a loss is not counted",
        "cluster/store/lua/claim.lua",
        "then answer = answer + 1 end",
        "then answer = answer end",
        (STORE, STEPS),
    ),
    Mutant(
        "a run that was stopped in good order counts as a loss",
        "cluster/store/lua/claim.lua",
        " and not well[holder] then",
        " then",
        (STORE, STEPS, ROWS),
    ),
    Mutant(
        "a claim whose answer was lost counts twice",
        "cluster/store/lua/claim.lua",
        "if place == 'engine' and its_claim ~= claim and",
        "if place == 'engine' and",
        (STORE, STEPS),
    ),
    Mutant(
        "an engine takes what somebody else has claimed",
        "cluster/store/lua/hand.lua",
        "if lost and pending == lost .. ' ' .. run .. ' ' .. claim then",
        "if lost then",
        (STORE, STEPS),
    ),
    Mutant(
        "duplicates are annotated too",
        "cluster/store/lua/register.lua",
        "local mine = entered == 1 or redis.call('HGET', keys[4], key) == owner",
        "local mine = true",
        (STORE, STEPS),
    ),
    Mutant(
        "what is finished is annotated again",
        "cluster/store/lua/register.lua",
        "local todo = mine and redis.call('HEXISTS', keys[1], key) == 0 and",
        "local todo = mine and",
        (STORE, STEPS),
    ),
    Mutant(
        "a row that is parsed the second time stays invalid",
        "cluster/store/lua/rows.lua",
        "    redis.call('SETBIT', KEYS[2], row, 0)\n",
        "",
        (f"{RUNS}::test_a_row_that_is_parsed_the_second_time_is_valid",),
    ),
    Mutant(
        "records are unpacked however long they say they are",
        "cluster/store/record.py",
        "> LONGEST:",
        "> 1 << 60:",
        ("tests/integration/test_forged.py::test_a_record_that_says_it_is_longer_than_memory_is_not_unpacked",),
    ),
    # The annotator
    Mutant(
        "a dead engine is not closed",
        "cluster/annotation/engine_host.py",
        "                self._died(str(error))\n                engine.close()\n",
        "                self._died(str(error))\n",
        ("tests/unit/cluster/annotation/test_engine_host.py",),
    ),
    Mutant(
        "what makes prompts outlives its annotator",
        "teacher/llm/engines/rendering.py",
        "    threading.Thread(target=_end_with_parent, daemon=True).start()\n",
        "",
        ("tests/integration/test_rendering.py::test_they_end_with_the_process_that_they_render_for",),
    ),
    Mutant(
        "prompts that can no longer be made are not told as a dead engine",
        "teacher/llm/engines/rendering.py",
        "        except BrokenProcessPool as error:\n            raise EngineDeadError(",
        "        except BrokenProcessPool as error:\n            raise RuntimeError(",
        ("tests/integration/test_rendering.py::test_a_process_that_dies_is_a_dead_engine",),
    ),
    Mutant(
        "an engine that is refused is tried again",
        "cluster/annotation/engine_host.py",
        "if wait is None or isinstance(error, EngineRefusedError):",
        "if wait is None:",
        ("tests/unit/cluster/annotation/test_engine_host.py",),
    ),
    Mutant(
        "the last tries are not alone",
        "cluster/annotation/annotator.py",
        "return alike[: SUSPECTS_TOGETHER if losses == 1 else 1]",
        "return alike[:SUSPECTS_TOGETHER]",
        ("tests/unit/cluster/annotation/test_annotator.py",),
    ),
    Mutant(
        "suspects share the engine with others",
        "cluster/annotation/annotator.py",
        "        with self._engine_lock.exclusive() if suspected else self._engine_lock.shared():",
        "        with self._engine_lock.shared():",
        (ROWS, "tests/chaos/test_poison.py"),
    ),
    Mutant(
        "what others have finished is tried again",
        "cluster/annotation/annotator.py",
        "            if lost in {FINISHED, HELD}:",
        "            if lost == HELD:",
        (ANNOTATOR,),
    ),
    Mutant(
        "what others hold is tried again",
        "cluster/annotation/annotator.py",
        "            if lost in {FINISHED, HELD}:",
        "            if lost == FINISHED:",
        (ANNOTATOR,),
    ),
    Mutant(
        "what nobody foresaw ends the run",
        "cluster/annotation/annotator.py",
        "        except Exception as error:  # noqa: BLE001\n            stage, reason",
        "        except RejectedError as error:\n            stage, reason",
        (f"{ROWS}::test_what_nobody_foresaw_about_one_molecule_costs_that_molecule_at_most",),
    ),
    Mutant(
        "a request that is never answered is waited for",
        "cluster/annotation/in_flight.py",
        "if asked.overtaken is not None and now - asked.overtaken >= self._limit",
        "if False",
        ("tests/unit/cluster/annotation/test_in_flight.py",),
    ),
    Mutant(
        "a request's time runs while it waits for its turn",
        "cluster/annotation/in_flight.py",
        "if asked.overtaken is not None and now - asked.overtaken >= self._limit",
        "if now - asked.asked >= self._limit",
        ("tests/unit/cluster/annotation/test_in_flight.py",),
    ),
    # The checks
    Mutant(
        "a text that was cut off is accepted",
        "teacher/llm/validation.py",
        '    if finish_reason != "stop":',
        '    if finish_reason not in {"stop", "length"}:',
        (CHECKS,),
    ),
    Mutant(
        "a blank text is accepted",
        "teacher/llm/validation.py",
        "    if not text.strip():",
        "    if not text:",
        (CHECKS,),
    ),
    Mutant(
        "a key that a prompt does not use is part of its digest",
        "teacher/llm/prompt.py",
        "unused = {key for key in LATER_KEYS if not getattr(self, key)}",
        "unused = set()",
        ("tests/unit/teacher/llm/test_spec_and_prompt.py",),
    ),
    Mutant(
        "a system turn may be left out",
        "teacher/llm/engines/chat_template.py",
        "if system and tokens([*system, QUESTION]) == bare:",
        "if system and not tokens([*system, QUESTION]):",
        ("tests/integration/test_prompts.py",),
    ),
    Mutant(
        "a cell keeps the marks of chat templates",
        "teacher/llm/row_columns.py",
        'return MARKS.sub(lambda mark: "(" if mark[0] == "[" else HARMLESS_ANGLE, line) or EMPTY',
        "return line or EMPTY",
        ("tests/unit/teacher/llm/test_row_columns.py",),
    ),
    Mutant(
        "a dead letter forgets its cells",
        "cluster/annotation/annotator.py",
        "            time=round(time.time(), 3),\n            columns=task.columns,\n        )\n\n    def _commit",
        "            time=round(time.time(), 3),\n        )\n\n    def _commit",
        ("tests/integration/test_row_columns.py::test_dead_letters_of_a_molecule_are_told_apart_by_its_cells",),
    ),
    Mutant(
        "cells are not part of a record's key",
        "teacher/chemistry/molecule.py",
        "digest_size=KEY_BYTES).digest() if columns else key",
        "digest_size=KEY_BYTES).digest() if False else key",
        ("tests/unit/cluster/library/test_cells.py",),
    ),
    Mutant(
        "numbers are no labels",
        "distill/data/leakage.py",
        "if seen.numbers and len(seen.values) > 1:",
        "if False:",
        ("tests/unit/distill/data/test_leakage.py",),
    ),
    Mutant(
        "a target may have been shown",
        "distill/data/leakage.py",
        "if found := next((column for column in columns if _plain(column) in names), None):",
        "if found := None:",
        ("tests/unit/distill/data/test_leakage.py",),
    ),
    Mutant(
        "a molecule is an example for itself",
        "teacher/llm/shots.py",
        "if other != smiles]",
        "if True]",
        ("tests/unit/teacher/llm/test_shots.py",),
    ),
    Mutant(
        "examples are not held to the schema",
        "teacher/llm/shots.py",
        'well_formed(answer_text(shot), "stop", schema)',
        'well_formed(answer_text(shot), "stop", None)',
        ("tests/unit/teacher/llm/test_shots.py",),
    ),
    Mutant(
        "an integer that no table holds is accepted",
        "teacher/llm/validation.py",
        'if len(digits.lstrip("-")) > MAX_DIGITS:',
        "if False:",
        (CHECKS,),
    ),
    Mutant(
        "the same key may stand twice",
        "teacher/llm/validation.py",
        "    if len(fields) < len(pairs):",
        "    if False:",
        (CHECKS,),
    ),
    Mutant(
        "a grounding as low as the least is refused",
        "teacher/llm/validation.py",
        "if grounding.score < min_grounding:",
        "if grounding.score <= min_grounding:",
        (CHECKS,),
    ),
    Mutant(
        "groups that are missed do not count",
        "teacher/llm/validation.py",
        "f1 = 2 * right / (len(claimed) + len(there)) if claimed or there else 1.0",
        "f1 = right / len(claimed) if claimed else 1.0",
        (CHECKS,),
    ),
    Mutant(
        "one way to count rings is right only",
        "teacher/llm/validation.py",
        "return max(facts.ring_counts(), key=lambda counts: sum(_agreement(fields, counts)))",
        "return next(iter(facts.ring_counts()))",
        (CHECKS,),
    ),
    # Several samples
    Mutant(
        "samples beyond the first are not counted",
        "teacher/llm/completion.py",
        "return self.completion_tokens + sum(other.completion_tokens for other in self.others)",
        "return self.completion_tokens",
        ("tests/integration/test_samples.py::test_all_samples_are_counted_and_those_that_were_accepted_are_kept",),
    ),
    Mutant(
        "an invalid sample agrees with the others",
        "teacher/llm/acceptance.py",
        "/ (len(accepted) + len(rejections))",
        "/ len(accepted)",
        (ACCEPTANCE,),
    ),
    Mutant(
        "the first sample is taken for the best",
        "teacher/llm/acceptance.py",
        "best = max(accepted, key=lambda annotation: annotation.grounding.score)",
        "best = accepted[0]",
        (ACCEPTANCE,),
    ),
    # What may come in
    Mutant(
        "a text is blamed for a death that others caused",
        "teacher/chemistry/safe_process.py",
        "TRIES = 2",
        "TRIES = 1",
        ("tests/integration/test_parsing.py",),
    ),
    Mutant(
        "what could not be drawn is asked about all the same",
        "cluster/annotation/annotator.py",
        'undrawn = row.get("undrawn")',
        "undrawn = None",
        ("tests/integration/test_drawing.py::test_a_molecule_that_cannot_be_drawn_is_a_dead_letter_that_says_why",),
    ),
    Mutant(
        "annotators draw for themselves",
        "cluster/annotation/annotate.py",
        "if job.spec.image_size is not None:",
        "if False:",
        ("tests/integration/test_drawing.py",),
    ),
    Mutant(
        "RDKit is given what it cannot bear",
        "teacher/chemistry/bounds.py",
        "    if rings > MAX_RINGS:",
        "    if False:",
        ("tests/integration/test_parsing.py::test_what_rdkit_cannot_bear_is_refused_with_the_reason",),
    ),
    Mutant(
        "dates in a prompt are what the process makes of them",
        "teacher/plain_yaml.py",
        "if tag != TIMESTAMP]",
        "if tag]",
        ("tests/unit/teacher/llm/test_schema.py",),
    ),
    # Batch APIs
    Mutant(
        "answers to what was not asked are stored",
        "cluster/records/batch_reader.py",
        "        asked = self._batch.asked.get(answer.custom_id)\n",
        "        asked = self._batch.asked.get(answer.custom_id, next(iter(self._batch.asked.values())))\n",
        (f"{BATCH}::test_every_fault_costs_its_own_molecule_and_is_counted",),
    ),
    Mutant(
        "a later answer never replaces a dead letter",
        "cluster/records/batch_reader.py",
        "if isinstance(outcome, Record) or tells_more(outcome, than=letter):",
        "if False:",
        (f"{BATCH}::test_a_better_answer_replaces_a_dead_letter_and_no_answer_a_record",),
    ),
    Mutant(
        "a batch that is not whole is read",
        "cluster/records/batch.py",
        "        if strict_json.read(_Foot, last).requests != len(asked):",
        "        if False:",
        (f"{BATCH}::test_answers_to_another_batch_are_refused",),
    ),
    Mutant(
        "a batch is asked again as it was",
        "cluster/records/batch_writer.py",
        "        again = retried(request, spec, asked.attempt, asked.rejected)",
        "        again = request",
        (f"{BATCH}::test_what_is_left_is_written_again_as_a_run_would_retry_it",),
    ),
    # Thoughts and adapters
    Mutant(
        "thoughts that did not end are taken for an answer",
        "teacher/llm/validation.py",
        "    if thought and not thought.ended and",
        "    if False and",
        (THINKING,),
    ),
    Mutant(
        "an answer may begin with thoughts nobody asked for",
        "teacher/llm/validation.py",
        "    if thought is None and completion.text",
        "    if False and completion.text",
        (THINKING,),
    ),
    Mutant(
        "nested thoughts are part of the answer",
        "teacher/llm/engines/thoughts.py",
        "end = ends[0] if held else ends[-1]",
        "end = ends[0]",
        ("tests/unit/teacher/llm/engines/test_thoughts.py",),
    ),
    Mutant(
        "lost thoughts are asked for again as they were",
        "teacher/llm/request.py",
        'if thinking and rejected == "thinking":',
        "if False:",
        (THINKING,),
    ),
    Mutant(
        "a template that opens a thought is not noticed",
        "teacher/llm/engines/thoughts.py",
        'if state_after(rendered, MARKS) == "open":',
        "if False:",
        (
            "tests/integration/test_thinking.py::"
            "test_a_template_that_does_otherwise_than_the_user_wants_is_noticed_before_weights_load",
        ),
    ),
    Mutant(
        "another adapter makes the same records",
        "teacher/llm/adapter.py",
        "digest_of([folder / CONFIG, weights])",
        "digest_of([folder / CONFIG])",
        ("tests/unit/teacher/llm/test_adapter.py",),
    ),
    # What goes out
    Mutant(
        "the password of a library's URL is shown",
        "cluster/library/streams.py",
        '    return LOGIN.sub("***@", text)',
        "    return text",
        ("tests/unit/cluster/library/test_library.py::test_the_password_of_a_url_is_not_shown",),
    ),
    Mutant(
        "JSON in a page is not escaped",
        "distill/report/html.py",
        'text.replace("<", "\\\\u003c")',
        "text",
        ("tests/unit/distill/report/test_report.py::test_json_inside_a_page_cannot_end_its_script",),
    ),
    Mutant(
        "text in a page is not escaped",
        "distill/report/html.py",
        "autoescape=True",
        "autoescape=False",
        ("tests/unit/distill/report/test_report.py::test_what_comes_from_the_data_is_escaped",),
    ),
    Mutant(
        "a comparison's page may load from anywhere",
        "distill/report/comparison.html.j2",
        "default-src 'none'; ",
        "",
        ("tests/unit/distill/report/test_report.py::test_a_page_loads_nothing_by_default",),
    ),
    Mutant(
        "a run's page may load from anywhere",
        "distill/report/run.html.j2",
        "default-src 'none'; ",
        "",
        ("tests/unit/distill/report/test_report.py::test_a_page_loads_nothing_by_default",),
    ),
    # Comparisons
    Mutant(
        "each pair of methods is compared by itself",
        "distill/judge/significance.py",
        "(1 - CONFIDENCE) / 2 / pairs",
        "(1 - CONFIDENCE) / 2",
        ("tests/unit/distill/judge/test_significance.py::test_among_equal_methods_a_difference_is_rarely_found",),
    ),
    Mutant(
        "splits that share molecules are taken for independent",
        "distill/judge/significance.py",
        "(1 / splits + test_to_train)",
        "(1 / splits)",
        ("tests/unit/distill/judge/test_significance.py",),
    ),
    Mutant(
        "a gain is called sure whatever its interval",
        "distill/judge/summary.py",
        "self.interval[0] <= 0 <= self.interval[1]",
        "False",
        ("tests/unit/distill/judge/test_summary.py",),
    ),
    Mutant(
        "molecules are drawn one by one, whatever their scaffold",
        "distill/judge/bootstrap.py",
        "drawn[:, groups]",
        "chance.multinomial(len(groups), np.full(len(groups), 1 / len(groups)), size=size)",
        ("tests/unit/distill/judge/test_significance.py",),
    ),
    Mutant(
        "walks of MuGSI are compared the wrong way round",
        "teacher/nn/mugsi.py",
        "wanted.exp() * (wanted - student)",
        "student.exp() * (student - wanted)",
        ("tests/unit/teacher/nn/test_mugsi.py",),
    ),
    Mutant(
        "the networks of a teacher have one seed",
        "distill/learn/teach.py",
        "known.name, known, seed + number)",
        "known.name, known, seed)",
        ("tests/integration/test_learning.py::test_a_teacher_of_several_seeds_is_heard_as_their_mean",),
    ),
    Mutant(
        "a rule with an unknown field is taken",
        "distill/rules/rule.py",
        "if unknown := sorted(known.keys() - Rule.__dataclass_fields__.keys()):",
        "if unknown := sorted(known.keys() & set()):",
        ("tests/unit/distill/rules/test_rules.py",),
    ),
    Mutant(
        "bounds of a rule are turned round",
        "distill/rules/values.py",
        "value > rule.above",
        "value < rule.above",
        ("tests/unit/distill/rules/test_rules.py",),
    ),
    Mutant(
        "rules that were changed are read",
        "distill/rules/rule_set.py",
        'if rules.digest != facts.get("digest"):',
        'if not facts.get("digest"):',
        ("tests/unit/distill/rules/test_rules.py",),
    ),
    Mutant(
        "shuffled rules stay where they are",
        "distill/learn/inputs.py",
        'permutation(values) if columns == "shuffled"',
        'permutation(values) if columns == "moved"',
        ("tests/unit/distill/learn/test_inputs.py",),
    ),
    Mutant(
        "nobody knows what MiniMol has seen",
        "distill/features/pretrained/encoders.py",
        "self.overlaps.get(dataset.lower())",
        "self.overlaps.get(dataset.upper())",
        ("tests/unit/distill/features/test_pretrained.py",),
    ),
    Mutant(
        "a page hides what pre-training has seen",
        "distill/report/comparison.html.j2",
        "{% if facts.overlap %}",
        "{% if not facts.overlap %}",
        ("tests/unit/distill/report/test_report.py",),
    ),
    Mutant(
        "a molecule that no network reads is learned from",
        "distill/learn/inputs.py",
        "np.isfinite(self.pretrained(recipe.pretrained)).all(axis=1)",
        "np.isfinite(self.pretrained(recipe.pretrained)).any()[None].repeat(len(self.dataset))",
        ("tests/unit/distill/learn/test_inputs.py",),
    ),
    Mutant(
        "predictions are kept in less than they were",
        "distill/judge/prediction_file.py",
        '("predicted", pa.float64())',
        '("predicted", pa.float16())',
        ("tests/unit/distill/report/test_report.py::test_tables_are_made_again_out_of_the_predictions",),
    ),
    Mutant(
        "a molecule hears what was written about itself",
        "teacher/nn/library.py",
        "(below < 0) | (below == seeds)",
        "below < 0",
        ("tests/unit/teacher/nn/test_library.py",),
    ),
    Mutant(
        "predictions of labelled molecules are learnt",
        "distill/learn/distillation.py",
        "values[:labelled] = np.nan",
        "values[:0] = np.nan",
        ("tests/unit/distill/learn/test_pseudo_labels.py",),
    ),
    Mutant(
        "a training asks for what the store has",
        "distill/learn/on_demand.py",
        "for row in new.tolist() if stored.texts[row] is None]",
        "for row in new.tolist()]",
        ("tests/unit/distill/learn/test_on_demand.py",),
    ),
    Mutant(
        "a service that is away is not waited for",
        "cluster/service/client.py",
        "if time.monotonic() + pause > given_up:",
        "if time.monotonic() + pause > 0:",
        ("tests/unit/cluster/service/test_client.py",),
    ),
    Mutant(
        "a budget is exceeded",
        "distill/learn/on_demand.py",
        "int(self.share * len(dataset))",
        "int(self.share * len(dataset)) + 1",
        ("tests/unit/distill/learn/test_on_demand.py",),
    ),
    Mutant(
        "an LLM sees labels of the test part",
        "distill/data/few_shot.py",
        "split.train[~np.isnan(dataset.labels[split.train, 0])]",
        "np.arange(len(dataset))",
        ("tests/unit/distill/data/test_few_shot.py",),
    ),
    Mutant(
        "an embedding is read of every node",
        "teacher/nn/nodes.py",
        "torch.where(enhanced, self.text(embedded), self.words(words))",
        "self.text(embedded)",
        ("tests/unit/distill/text_graph/test_text_graph.py",),
    ),
    Mutant(
        "an edge may name a node that there is not",
        "distill/text_graph/files.py",
        "each for each in pair if each not in known",
        "each for each in () if each not in known",
        ("tests/unit/distill/text_graph/test_text_graph.py",),
    ),
    Mutant(
        "molecules of the test part are candidates",
        "distill/ranking/prompt.py",
        "LibraryGraph.of(packed_of(dataset.mols()), split.train, number)",
        "LibraryGraph.of(packed_of(dataset.mols()), range(len(dataset)), number)",
        ("tests/unit/distill/ranking/test_ranking.py",),
    ),
    Mutant(
        "an order of what was not offered is taken",
        "distill/ranking/ranking.py",
        "all(1 <= number <= offered for number in numbers)",
        "all(1 <= number for number in numbers)",
        ("tests/unit/distill/ranking/test_ranking.py",),
    ),
    Mutant(
        "a card keeps silent about who chose the neighbours",
        "distill/learn/saving.py",
        'if recipe.neighbours == "tanimoto":',
        "if True:",
        (
            "tests/integration/test_learning.py::"
            "test_a_network_whose_neighbours_an_llm_chose_predicts_new_molecules_without_it",
        ),
    ),
    Mutant(
        "predictions with labels in sight are taken",
        "distill/data/few_shot.py",
        "if any(dataset.keys[row] in shown for row in held_out):",
        "if False:",
        ("tests/unit/distill/data/test_few_shot.py",),
    ),
    Mutant(
        "GALLON's objective whitens representations",
        "distill/learn/distillation.py",
        'if weights.objective == "gallon":',
        "if False:",
        ("tests/unit/distill/learn/test_distillation.py",),
    ),
    Mutant(
        "GALLON learns numbers in units of their deviation",
        "distill/learn/objective.py",
        "means=(0.0,) * targets, deviations=(1.0,) * targets",
        "means=self.means, deviations=self.deviations",
        ("tests/unit/distill/learn/test_objective.py",),
    ),
    Mutant(
        "GALLON's student has no plain layer",
        "distill/learn/student.py",
        "        self.body.append(nn.Linear(width, width))\n",
        "",
        ("tests/unit/distill/learn/test_student.py",),
    ),
    Mutant(
        "an interval is as wide as the median error",
        "distill/models/doubt.py",
        "(len(known) + 1) * LEVEL",
        "(len(known) + 1) / 2",
        ("tests/unit/distill/models/test_doubt.py",),
    ),
    Mutant(
        "a screening goes on with the parts of another",
        "distill/screen/parts.py",
        'json.loads((self._folder / PLAN).read_text())["plan"] == self._plan',
        "(self._folder / PLAN).read_text()",
        ("tests/unit/distill/screen/test_screening.py::test_who_screens_something_else_begins_anew",),
    ),
    Mutant(
        "the last part of a screening is lost",
        "distill/screen/screening.py",
        "chain(parts.tables(), rest)",
        "parts.tables()",
        ("tests/unit/distill/screen/test_screening.py::test_a_screening_goes_on_where_it_was_stopped",),
    ),
    Mutant(
        "a prefilter of another model is used",
        "distill/screen/ngram_student.py",
        'card.get("model") != model or ',
        "",
        ("tests/unit/distill/screen/test_prefilter.py",),
    ),
    Mutant(
        "a row is blamed for a death that others caused in a screening",
        "distill/screen/workers.py",
        "TRIES = 2",
        "TRIES = 1",
        ("tests/unit/distill/screen/test_workers.py",),
    ),
    Mutant(
        "triton's types are left for its binding to list",
        "teacher/garbage.py",
        "if HAS_TO_BE_FOUND not in sys.modules:",
        "if True:",
        (
            "tests/unit/gallon/test_app.py",
            "tests/unit/distill/screen/test_workers.py",
        ),
    ),
    Mutant(
        "all molecules have the same interval",
        "distill/models/doubt.py",
        "bins = max(1, min(BINS, len(truth) // LEAST))",
        "bins = 1",
        ("tests/unit/distill/models/test_doubt.py",),
    ),
    Mutant(
        "data is checked after it is annotated",
        "gallon/pipeline.py",
        "    (split,) = splits_of(dataset, labels, seeds=1)\n    recipes_of(dataset, split, None, training)\n",
        "",
        ("tests/unit/gallon/test_refusals.py",),
    ),
    Mutant(
        "only the first network of an ensemble is asked",
        "distill/models/ensemble.py",
        'return f"member{number}." if number else ""',
        'return ""',
        ("tests/unit/distill/models/test_ensemble.py",),
    ),
    Mutant(
        "a labelled molecule is chosen",
        "distill/data/subset.py",
        "left = order[~pool.doubts.labelled[order]] if pool.doubts else order.copy()",
        "left = order.copy()",
        ("tests/unit/distill/features/test_neighbours.py",),
    ),
    Mutant(
        "a student's uncertainty counts for nothing",
        "distill/data/subset.py",
        "weights / weights.mean()",
        "np.ones(len(rows))",
        ("tests/unit/distill/features/test_neighbours.py",),
    ),
    # The service
    Mutant(
        "a service is ready whatever its store does",
        "cluster/service/front.py",
        "        if self.settings.store_url:\n            await self._answers.check()",
        "        if False:\n            await self._answers.check()",
        ("tests/unit/cluster/service/test_app.py::test_a_service_without_its_store_is_alive_and_not_ready",),
    ),
    Mutant(
        "who asks meanwhile makes a call of their own",
        "cluster/service/single_flight.py",
        "task = self._calls.get(key)",
        "task = None",
        (f"{FLIGHTS}::test_who_asks_meanwhile_waits_for_the_call_on_its_way",),
    ),
    Mutant(
        "a call ends with who asked first",
        "cluster/service/single_flight.py",
        "asyncio.shield(task)",
        "task",
        (f"{FLIGHTS}::test_a_call_goes_on_when_whoever_asked_is_gone",),
    ),
    Mutant(
        "a service that others reach is built without a token",
        "gallon/api/service.py",
        '    if token is None:\n        raise UsageError(f"The service is reached',
        '    if False:\n        raise UsageError(f"The service is reached',
        (
            "tests/unit/deploy/test_deploy_manifests.py::test_the_service_is_not_built_without_a_token_or_a_store_for_all",
        ),
    ),
    Mutant(
        "several processes feed an engine that remembers pictures",
        "teacher/llm/engines/vllm_engine.py",
        "if settings.renderers and not caches_pictures(config):",
        "if settings.renderers:",
        ("tests/integration/test_rendering.py::test_an_engine_that_remembers_pictures_makes_its_prompts_itself",),
    ),
    Mutant(
        "who asks for a molecule again has it made again",
        "cluster/service/annotating.py",
        "return await self._flights.share(key, annotate)",
        "return await annotate()",
        ("tests/integration/test_service.py::test_the_death_of_a_front_loses_nothing_for_who_asks_again",),
    ),
    Mutant(
        "a front that stops leaves what it has in hand",
        "cluster/service/listening.py",
        "self._server.should_exit = True",
        "self._server.should_exit = self._server.force_exit = True",
        (f"{LISTENING}::test_a_listener_that_stops_finishes_what_it_has_in_hand_and_takes_no_more",),
    ),
    Mutant(
        "a second front cannot listen",
        "cluster/service/listening.py",
        "reuse_port=shared",
        "reuse_port=False",
        (f"{LISTENING}::test_fronts_share_a_port_that_others_are_refused",),
    ),
    Mutant(
        "an answer waits until the client confirms its headers",
        "cluster/service/listening.py",
        "socket.TCP_NODELAY, 1)",
        "socket.TCP_NODELAY, 0)",
        (f"{LISTENING}::test_an_answer_does_not_wait_until_the_client_confirms_its_headers",),
    ),
    Mutant(
        "the service listens anywhere without a token",
        "cluster/service/access.py",
        "if token is None and not is_loopback(host):",
        "if False:",
        (f"{ACCESS}::test_where_others_reach_it_the_service_needs_a_token",),
    ),
    Mutant(
        "any scheme of authorization lets in",
        "cluster/service/access.py",
        "scheme.lower() == SCHEME and ",
        "",
        (f"{ACCESS}::test_only_the_token_as_a_bearer_token_lets_in",),
    ),
    Mutant(
        "a token file that others may read is taken",
        "cluster/service/access.py",
        "    if readable_by_others:",
        "    if False:",
        (f"{ACCESS}::test_a_token_that_others_may_read_or_guess_is_refused",),
    ),
    Mutant(
        "an output may replace its input",
        "teacher/files.py",
        "        if same := next((each for each in inputs if _same(place, each)), None):",
        "        if same := None:",
        ("tests/unit/teacher/test_files.py",),
    ),
    Mutant(
        "files that are not ours go with a folder",
        "teacher/files.py",
        "if file.name not in ours and not os.path.lexists(new / file.name):",
        "if False:",
        ("tests/unit/teacher/test_files.py",),
    ),
    Mutant(
        "a file that exists is replaced unasked",
        "teacher/files.py",
        "        if place.exists() and not overwrite:",
        "        if False:",
        ("tests/unit/teacher/test_files.py",),
    ),
    # The user's rows
    Mutant(
        "the user's cells are guarded as ours are",
        "cluster/library/kept.py",
        "out, theirs=len(self.names))",
        "out, theirs=0)",
        (f"{IDENTITY}::test_a_choice_has_every_row_of_a_library_with_its_rank",),
    ),
    Mutant(
        "a column of ours hides one of the user's",
        "cluster/library/kept.py",
        "apart(ours.names, {*self.names, *self.within})",
        "ours.names",
        (f"{IDENTITY}::test_a_choice_has_every_row_of_a_library_with_its_rank",),
    ),
    Mutant(
        "a duplicate has no annotation",
        "cluster/records/annotated_rows.py",
        "outcome = found.get(key)",
        "outcome = found.pop(key, None)",
        (f"{IDENTITY}::test_an_export_has_every_row_of_a_library_with_its_annotation_or_the_reason",),
    ),
    Mutant(
        "a shard of other rows is kept",
        "distill/library/prepare.py",
        "there is not None and there.digest == digest_of_rows(block)",
        "there is not None",
        ("tests/integration/test_prepare.py::test_a_shard_of_rows_that_have_changed_or_that_is_damaged_is_made_again",),
    ),
    Mutant(
        "labelled molecules of a library are learned from",
        "distill/library/prepared.py",
        "np.flatnonzero(distinct & ~of_data)",
        "np.flatnonzero(distinct)",
        (f"{STREAM}::test_labelled_molecules_duplicates_and_rows_without_one_are_left_out",),
    ),
    Mutant(
        "a network begins at random whatever it is told",
        "distill/learn/start.py",
        "network.load_state_dict(body, strict=False)",
        "network.load_state_dict(network.state_dict())",
        ("tests/unit/distill/library/test_pretrain.py::test_a_network_begins_with_all_but_the_head",),
    ),
    Mutant(
        "the same text is a wrong answer",
        "teacher/nn/alignment.py",
        "(same | ~known)",
        "~known",
        (
            "tests/unit/teacher/nn/test_alignment.py"
            "::test_the_same_text_is_no_wrong_answer_and_what_has_none_takes_no_part",
        ),
    ),
    Mutant(
        "each worker compares its own molecules alone",
        "distill/learn/objective.py",
        "everything, first = joined(torch.cat(mine, dim=1))",
        "everything, first = torch.cat(mine, dim=1), 0",
        ("tests/integration/test_training.py::test_two_workers_learn_what_one_learns",),
    ),
    Mutant(
        "a network that has seen answers of test molecules is taken",
        "distill/models/pretraining.py",
        "        if tested:",
        "        if not shown:",
        (
            "tests/unit/distill/library/test_pretrain.py::test_what_has_seen_answers_of_test_molecules_is_refused_and_structures_are_counted",
        ),
    ),
    Mutant(
        "a row that kills a worker of prepare is tried as before",
        "distill/library/trial.py",
        "return write_shard(rows, descriptors, file, killers(texts, descriptors, module))",
        "return write_shard(rows, descriptors, file)",
        ("tests/integration/test_prepare.py::test_a_row_that_rdkit_does_not_survive_costs_itself",),
    ),
    Mutant(
        "a text is embedded again",
        "distill/library/beside/embedding.py",
        "before and row in place and before.texts[place[row]] == text",
        "False",
        (
            "tests/integration/test_pretraining.py"
            "::test_annotated_molecules_are_embedded_once_and_a_later_call_takes_what_is_new",
        ),
    ),
    Mutant(
        "a teacher is asked again",
        "distill/library/beside/scores.py",
        "return rows if there is None else np.setdiff1d(rows, there.rows)",
        "return rows",
        (f"{STREAM}::test_a_teacher_says_of_a_shard_what_it_says_of_its_molecules_and_is_asked_once",),
    ),
    Mutant(
        "each teacher has molecules embedded for itself",
        "distill/library/beside/molecule_vectors.py",
        "rows if kept is None else np.setdiff1d(rows, kept[ROWS])",
        "rows",
        (
            "tests/unit/distill/library/test_molecule_vectors.py"
            "::test_a_molecule_is_embedded_once_however_many_teachers_read_its_vector",
        ),
    ),
    Mutant(
        "a fit that goes on draws other numbers",
        "cluster/training/loop.py",
        '        torch.set_rng_state(state["random"])',
        "        pass",
        (
            "tests/unit/cluster/training/test_stream.py"
            "::test_a_worker_that_is_killed_at_random_five_times_ends_with_the_weights_of_an_undisturbed_one",
        ),
    ),
    Mutant(
        "an epoch begins anew",
        "cluster/training/loop.py",
        "self._examples.of_epoch(self._epoch, self._step)",
        "self._examples.of_epoch(self._epoch, 0)",
        (
            "tests/unit/cluster/training/test_stream.py"
            "::test_a_fit_that_dies_in_the_middle_of_an_epoch_ends_with_the_same_weights",
        ),
    ),
    Mutant(
        "workers share a student's fit",
        "cluster/training/shards.py",
        "if not fit.shareable:",
        "if False:",
        (
            "tests/unit/cluster/training/test_driver.py"
            "::test_a_fit_whose_gradients_cost_more_than_they_bring_stays_with_one_worker",
        ),
    ),
    Mutant(
        "labelled molecules are left to chance",
        "cluster/training/examples.py",
        "rounds, within = np.divmod(places, len(self._fit.train))",
        "rounds, within = places, places * 0",
        (
            "tests/unit/cluster/training/test_stream.py"
            "::test_labelled_molecules_have_their_share_of_every_step_and_all_come_round",
        ),
    ),
    Mutant(
        "a cell of several lines before the SMILES costs its row",
        "cluster/library/delimited.py",
        "            if not self._is_row(self.record[0]):",
        "            if False:",
        ("tests/unit/cluster/library/test_tables.py::test_quoted_lines_are_one_record_wherever_the_smiles_stands",),
    ),
    Mutant(
        "a server that fails everyone makes dead letters",
        "teacher/llm/engines/endpoint.py",
        "answer.status_code in BUSY or self._fails_everyone(answer)",
        "answer.status_code in BUSY",
        ("tests/unit/teacher/llm/engines/test_endpoint.py::test_a_server_that_fails_everyone_costs_nobody_an_attempt",),
    ),
    Mutant(
        "a front keeps connections that Redis has closed",
        "cluster/service/stored_answers.py",
        "TRIES_AGAIN = 3",
        "TRIES_AGAIN = 0",
        ("tests/unit/cluster/service/test_stored_answers.py::test_connections_that_redis_has_closed_are_opened_again",),
    ),
    Mutant(
        "processes run the caller's script again",
        "teacher/processes.py",
        "    from loky import ProcessPoolExecutor\n\n    pool = ProcessPoolExecutor(processes, ",
        "    import multiprocessing\n    from concurrent.futures import ProcessPoolExecutor\n\n"
        '    pool = ProcessPoolExecutor(processes, multiprocessing.get_context("spawn"), ',
        ("tests/unit/teacher/test_processes.py::test_a_script_that_is_no_module_can_ask_for_processes",),
    ),
    Mutant(
        "a machine that cannot draw makes dead letters",
        "cluster/annotation/annotator.py",
        "        except ImportError as error:",
        "        except ZeroDivisionError as error:",
        (
            "tests/integration/test_annotator.py::test_a_machine_that_cannot_draw_is_done_without_and_no_molecule_is_blamed",
        ),
    ),
    Mutant(
        "a drawer that cannot draw blames molecules",
        "teacher/chemistry/drawing.py",
        "    check_drawing()\n    return SafeDrawer()",
        "    return SafeDrawer()",
        (
            "tests/unit/teacher/chemistry/test_depiction.py"
            "::test_no_drawer_is_started_where_it_would_blame_the_molecules",
        ),
    ),
    Mutant(
        "an interrupt leaves processes at work",
        "teacher/processes.py",
        "        pool.shutdown(wait=False, kill_workers=True)\n        raise",
        "        pool.shutdown(wait=False)\n        raise",
        ("tests/unit/teacher/test_processes.py::test_an_interrupt_ends_processes_in_the_middle_of_their_work",),
    ),
    Mutant(
        "damaged embeddings are taken for silence",
        "distill/library/beside/embeddings.py",
        "        raise DamagedTextsError(f\"{file} is damaged: run the same 'gallon embed' again.\") from error",
        "        return None",
        ("tests/unit/distill/library/test_embeddings.py",),
    ),
    Mutant(
        "lost scores of a language teacher are taken for silence",
        "distill/library/stream.py",
        '        if role == "lm" and (listed := scored_shards(folder)) is not None and facts.digest not in listed:',
        '        if role == "lm":',
        (f"{STREAM}::test_of_what_a_language_teacher_never_spoke_nothing_is_learned_and_lost_scores_are_an_error",),
    ),
    Mutant(
        "an error in a fit's own code is tried again",
        "cluster/training/independent.py",
        "                if not may_pass(error):",
        "                if False:",
        ("tests/integration/test_training.py::test_an_error_of_the_code_ends_the_training_at_the_first_try",),
    ),
    Mutant(
        "a GPU has one fit at a time",
        "cluster/training/driver.py",
        "FITS_ON_A_GPU = 4",
        "FITS_ON_A_GPU = 1",
        ("tests/unit/cluster/training/test_driver.py::test_fits_stand_side_by_side_on_a_gpu_each_with_a_core",),
    ),
)
