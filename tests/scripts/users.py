"""The users of deploy/acl, as rules that can be given to a user of a test."""

from __future__ import annotations

from pathlib import Path

ACL = Path(__file__).parents[2] / "deploy" / "acl" / "users.acl"
NAMESPACE = "prod"


def rules_of(user: str) -> list[str]:
    """Return the rules of one of the users, as they stand in the file."""
    lines = [line.split() for line in ACL.read_text("utf-8").splitlines()]
    return next(words[2:] for words in lines if words[1] == user)


def commands_of(user: str) -> set[str]:
    """Return the commands that one of the users may call."""
    return {rule[1:] for rule in rules_of(user) if rule.startswith("+")}


def rules_for_the_limited(user: str, *without: str) -> list[str]:
    """Return the rules of one of the users for the namespace `limited`, but some."""
    return rules_in("limited", user, *without)


def rules_in(namespace: str, user: str, *without: str) -> list[str]:
    """Return the rules of one of the users for a namespace, but some, and without the password."""
    rules = [rule for rule in rules_of(user) if rule not in without and rule[0] != ">"]
    return [rule.replace(f"{{{NAMESPACE}:", f"{{{namespace}:") for rule in rules]
