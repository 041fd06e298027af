"""Random stories of edits, people, faults, killed runs and two runners; what must hold is checked after every run.

    pytest tests/chaos                                  a short form, in every test run
    pytest tests/chaos -m slow --chaos-runs 2000        as many runs as wanted
    pytest tests/chaos --chaos-seed 17                  one story again (or SFSYNC_CHAOS_SEED=17)

A failure prints its seed and all that happened.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.game import new_game
from tests.conftest import OrgForTests

RUNS = 25  # of one story
FEWER = 15  # of the one in every test run
BACK = 3  # steps that are taken back


def test_what_must_hold_holds_in_short(chaos_seed: int, tmp_path: Path, org: OrgForTests) -> None:
    game = new_game(chaos_seed, tmp_path / "team", org)
    game.play(FEWER)
    print(f"seed {chaos_seed}: {game.runs} runs, {dict(sorted(game.told.items()))}")


def test_what_runs_did_is_taken_back(chaos_seed: int, tmp_path: Path, org: OrgForTests) -> None:
    game = new_game(chaos_seed, tmp_path / "team", org)
    game.play_back(BACK)
    print(f"seed {chaos_seed}: {game.runs} runs, {dict(sorted(game.told.items()))}")


@pytest.mark.slow
def test_what_must_hold_holds_at_length(long_chaos_seed: int, tmp_path: Path, org: OrgForTests) -> None:
    game = new_game(long_chaos_seed, tmp_path / "team", org)
    game.play(RUNS)
    print(f"seed {long_chaos_seed}: {game.runs} runs, {dict(sorted(game.told.items()))}")
