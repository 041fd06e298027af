"""A seed's story: random steps, each ending in a run, and the invariants after each of them.

Owns:      what a step consists of, the log of steps, the counts of what happened.
Does not:  know how to edit (world), misbehave (faults) or judge (checks).
Invariant: the same seed plays the same story; only where two processes meet, or a request is held up, time has a say.
"""

from __future__ import annotations

import shutil
from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any

from sfsync.artifacts import Result
from sfsync.errors import SfsyncError
from sfsync.jobs.run import RunOptions, run_command
from sfsync.jobs.session import Options
from sfsync.jobs.undo import LATEST
from sfsync.local_org.fault_rules import KINDS
from tests.chaos import checks, faults
from tests.chaos.world import World
from tests.conftest import OrgForTests
from tests.support import doomed
from tests.support.clock import QuickClock

SETTLING = 4
"""Runs without faults after which nothing may be left to do: to find out, to send, to clear what an adoption left open."""

HANGING = 8
"""More of them, at most, in which a job that hangs may be looked at until it goes on."""

MOMENTS = 60
"""A doomed run dies at one of its first moments; a longer run may live."""


class ViolationError(AssertionError):
    """An invariant does not hold."""


@dataclass
class Game:
    """One seed."""

    seed: int
    world: World
    rng: Random
    log: list[str] = field(default_factory=list)
    told: Counter[str] = field(default_factory=Counter)
    runs: int = 0
    killed: int = 0

    def play(self, runs: int) -> None:
        """Steps with that many runs, and the end of the story."""
        try:
            while self.runs < runs:
                self._step()
            self._settle()
        except Exception as error:
            raise self._violation(error) from error

    def _violation(self, error: Exception) -> ViolationError:
        story = "\n".join(self.log)
        again = f"pytest tests/chaos --chaos-seed {self.seed}"
        return ViolationError(f"seed {self.seed}, run {self.runs}: {error}\n\n{story}\n\nreplay: {again}")

    def _say(self, line: str) -> None:
        self.log.append(f"{self.runs:3}  {line}")

    def _step(self) -> None:
        rng, world = self.rng, self.world
        self._time_passes(rng.choice([1, 5, 20]))
        if rng.random() < 0.8:
            self._say(world.edit())
        for _ in range(rng.choice([0, 0, 0, 1, 2])):
            self._say(world.person())
        self._choose_ways()
        world.save()
        self._misbehave()
        if rng.random() < 0.12:
            self._another_machine()
        self._go()

    def _go(self) -> None:
        """A run: forward or back, here or in a process that dies, alone or not."""
        rng = self.rng
        how, undo = rng.random(), None
        if rng.random() < 0.1 and checks.undoable(self.world):
            undo = LATEST
            self.told["undo"] += 1
        if how < 0.3:
            self._run_doomed(undo)
        elif how < 0.4:
            self._two_runners()
        else:
            stop_after = rng.randint(1, 12) if rng.random() < 0.1 else None
            self._run(stop_after=stop_after, undo=undo)

    def _choose_ways(self) -> None:
        rng, team = self.rng, self.world.team
        if rng.random() < 0.4:
            name = rng.choice(["accounts", "contacts", "contacts", "subscriptions"])
            api = rng.choice(["auto", "collections", "bulk", "bulk"])
            self._say(f"{name} go by {api}")
            team.sync(name, push={"api": api})

    def _misbehave(self) -> None:
        rng, org = self.rng, self.world.org
        kinds = rng.sample(sorted(KINDS.keys() - {"clock_off"}), rng.choice([0, 0, 1, 1, 2, 3]))
        rules = [faults.draw(rng, kind) for kind in kinds]
        self.world.forgetful |= any(rule.get("job_too") for rule in rules)
        limits = {"max": 15_000, "used": 0, "batches_max": 15_000, "batches_used": 0}
        if rng.random() < 0.08:
            limits["used"] = limits["max"] - rng.randint(0, 25)
            self._say(f"the org has {limits['max'] - limits['used']} calls left")
        own = {"daily_calls": 100_000, "keep_free": 0}
        if rng.random() < 0.08:
            own["daily_calls"] = checks.read_state(self.world).booked + rng.randint(0, 12) if self.runs else 5
            self._say(f"the project may make {own['daily_calls']} calls")
        self.world.team.profile(api_limit=own)
        org.limits(**limits)
        org.faults([*rules, self._clock(rng.choice([0, 0, 0, -7200, 400]))])
        for rule in rules:
            self.told[rule["fault"]] += 1
            self._say(f"fault {rule}")

    def _time_passes(self, minutes: int) -> None:
        self.world.team.clock.offset += timedelta(minutes=minutes)

    def _clock(self, skew: int) -> dict[str, Any]:
        """The org's clock goes with ours, but for so many seconds."""
        return {"fault": "clock_off", "seconds": int(self.world.team.clock.offset.total_seconds()) + skew}

    def _another_machine(self) -> None:
        """Only what is in git and the state come along."""
        private = self.world.state.parent
        if not private.exists():
            return
        for path in private.iterdir():
            if path != self.world.state and not path.name.endswith(".wal"):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        shutil.rmtree(self.world.team.folder / "target", ignore_errors=True)
        self.told["another machine"] += 1
        self._say("on another machine")

    # ------------------------------------------------------------ runs

    def _run(
        self, *, stop_after: int | None = None, retry: bool = False, undo: str | None = None
    ) -> Result | None:
        """A run in this process, and what must hold after it."""
        asked = 0

        def stop() -> bool:
            nonlocal asked
            asked += 1
            return stop_after is not None and asked >= stop_after

        from sfsync.jobs.retry import retry_command

        team, result, how = self.world.team, None, RunOptions(stop_requested=stop, undo=undo)
        options = Options(project_dir=team.folder, env={}, clock=QuickClock(team.clock.offset), events=team)
        self.runs += 1
        try:
            result = (retry_command if retry else run_command)(options, how)
            ends = {
                item.name: {str(o): item.count(o) for o in checks.Outcome if item.count(o)}
                for item in result.syncs
            }
            verb = f"undo of {result.undo}" if result.undo else "run"
            self._say(f"{verb} {result.exit_code}: {ends}" + (f" ({result.reason})" if result.reason else ""))
            for item in result.recovered:
                self._say(
                    f"  recovered {item.sync} {item.operation} {item.rows}: {item.what} {dict(item.counts)}"
                )
            self.told[f"exit {result.exit_code}"] += 1
        except SfsyncError as error:
            self._say(f"run failed with {error.exit_code}: {type(error).__name__}: {error.what}")
            self.told[f"error {error.exit_code}"] += 1
        self._check(result)
        return result

    def _run_doomed(self, undo: str | None = None) -> None:
        """A run in a process that is killed at some moment, if it lives that long."""
        moment = self.rng.randint(1, MOMENTS)
        code = self._end(doomed.start(self._order(moment, undo)))
        self._say(f"{'undo' if undo else 'run'} to be killed at moment {moment}: ended with {code}")
        self._check(None)

    def _two_runners(self) -> None:
        """One run here and one in another process, which may be killed."""
        moment = self.rng.randint(1, MOMENTS) if self.rng.random() < 0.5 else None
        other = doomed.start(self._order(moment))
        self._say("two runners" + (f", one to be killed at moment {moment}" if moment else ""))
        self.told["two runners"] += 1
        self._run_beside()
        code = self._end(other)
        self._say(f"the other ended with {code}")
        self._check(None)

    def _run_beside(self) -> None:
        """What holds after it can only be said when the other has ended, too."""
        team = self.world.team
        self.runs += 1
        try:
            options = Options(project_dir=team.folder, env={}, clock=QuickClock(team.clock.offset))
            code = run_command(options).exit_code
        except SfsyncError as error:
            code = error.exit_code
        self._say(f"  this one ended with {code}")

    def _order(self, moment: int | None, undo: str | None = None) -> doomed.Order:
        return doomed.Order(self.world.team.folder, self.world.team.clock.offset, die_at=moment, undo=undo)

    def _end(self, process: object) -> int:
        self.runs += 1
        code = doomed.end(process)
        self.killed += code == -9
        self.told["killed"] += code == -9
        if code not in (0, 1, 2, 3, 130, -9):
            raise ViolationError(f"a run ended with {code}")
        return code

    # ------------------------------------------------------------ there and back

    def play_back(self, steps: int) -> None:
        """Steps without people after which all is taken back, run by run: the org is as it was before them."""
        try:
            for _ in range(2):
                self._step()
            self._settle()
            self._there_and_back(steps)
        except Exception as error:
            raise self._violation(error) from error

    def _there_and_back(self, steps: int) -> None:
        world, rng = self.world, self.rng
        known = set(checks.undoable(world))
        seen = checks.look(world)
        before, there = checks.known_texts(world, seen, checks.read_state(world)), checks.texts(seen)
        self._say("from here on, all is to be taken back")
        for _ in range(steps):
            self._time_passes(1)
            self._say(world.edit())
            self._choose_ways()
            world.save()
            self._misbehave()
            if rng.random() < 0.2:
                self._another_machine()
            self._run_doomed() if rng.random() < 0.5 else self._run()
        self._settle()
        runs = [run for run in checks.undoable(world) if run not in known]
        for run_id in runs:
            result = self._run(undo=run_id)
            if result is None or result.exit_code:
                raise ViolationError(f"the undo of {run_id} did not go through")
        self.told["taken back"] += len(runs)
        found = checks.taken_back(world, before, there, checks.look(world), checks.read_state(world))
        if text := checks.first(found):
            raise ViolationError(text)

    # ------------------------------------------------------------ what must hold

    def _check(self, result: Result | None) -> None:
        world = self.world
        world.org.faults([self._clock(0)])  # but for jobs that were chosen already
        seen = checks.look(world)
        if not world.state.exists():
            return
        state = checks.read_state(world)
        found = [
            *checks.nothing_doubled(world, seen),
            *checks.acknowledged(seen, state),
            *checks.ledger(seen, state, self.killed),
        ]
        if result is not None:
            found += [*checks.accounting(result), *checks.intents(result, state)]
        if found:
            raise ViolationError(checks.first(found))

    def _settle(self) -> None:
        """Without faults everything comes to its end."""
        world, org = self.world, self.world.org
        self._time_passes(20)
        org.faults([self._clock(0)])
        org.limits(max=15_000, used=0, batches_max=15_000, batches_used=0)
        world.team.profile(api_limit={"daily_calls": 100_000, "keep_free": 0})
        for row in world.rows["contacts"].values():  # the org refuses it anew in each run
            row["account"] = None if row["account"] == "A-none" else row["account"]
        world.save()
        self._say("faults off")
        number = hung = 0
        while number - hung < SETTLING and hung <= HANGING:
            result = self._run(retry=number == 0)  # what faults made sfsync hold is let go
            if result is not None and result.exit_code == 0 and not world.team.plan().has_changes:
                break
            number += 1
            hung += bool(result is not None and any(one.counts.get("submitted") for one in result.recovered))
        plan = world.team.plan()
        if plan.has_changes:
            raise ViolationError(f"after {SETTLING} runs without faults the plan still has changes")
        self.told[f"settled after {number - hung + 1}"] += 1
        found = checks.org_is_model(world, checks.look(world), checks.read_state(world))
        if text := checks.first(found):
            raise ViolationError(text)


def new_game(seed: int, folder: Path, org: OrgForTests) -> Game:
    """The beginning of a seed's story: an empty org, a project and an empty state."""
    rng = Random(seed)
    org.begin()
    world = World(folder, org, rng)
    world.save()
    world.team.init_state()
    return Game(seed, world, rng)
