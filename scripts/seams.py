"""Count the seams of the spawner package: what its classes take from each other through `self`.

    scripts/seams.py                 the figures
    scripts/seams.py --names         also the names, pair by pair
    scripts/seams.py --wings         the imports between wings; exit status 1 if they form a cycle
    scripts/seams.py ... FOLDER      another copy of the package

The count covers every class of the package from which the spawners inherit. A name counts once for each class that
takes it. JupyterHub's own names do not count. A declaration in the core changes no figure: it lets mypy check the name,
but the name still belongs to another class.
"""

from __future__ import annotations

import argparse
import ast
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from itertools import combinations
from pathlib import Path

PACKAGE = Path(__file__).parent.parent / "spawner" / "dockerspawner"
SPAWNERS = ("DockerSpawner", "SwarmSpawner", "SystemUserSpawner", "SwarmSystemUserSpawner")
# The module that only declares what is shared, and its class for JupyterHub's names.
CORE = "_core"
JUPYTERHUB = "Spawner"


@dataclass
class Class:
    """One class: names that its body defines, names that it takes through `self`, variables that it assigns."""

    name: str
    module: str
    bases: list[str]
    defined: set[str] = field(default_factory=set)
    used: set[str] = field(default_factory=set)
    assigned: set[str] = field(default_factory=set)
    passed_on: set[str] = field(default_factory=set)


@dataclass
class Seams:
    """What the spawners' classes take from each other; `taken` and `inherited` map (taker, owner) to names."""

    classes: list[Class]
    # Names that the taker's body does not define.
    taken: dict[tuple[str, str], set[str]]
    # Those of them that no base class of the taker defines, either.
    undeclared: dict[tuple[str, str], set[str]]
    # Variable to the modules that assign it through `self`.
    writers: dict[str, set[str]]
    # (module, object, attribute) of assignments through another object.
    outside: set[tuple[str, str, str]]
    # (module, name) of private names that a collaborator takes from the spawner it works for.
    through_server: set[tuple[str, str]]
    # Names that the core declares though no class takes them.
    unused: set[str]
    # Methods that more than one class defines and calls on with super(), so that the order of bases matters.
    chained: dict[str, list[str]]

    def count(self, pairs: dict[tuple[str, str], set[str]]) -> int:
        """Return the number of distinct (class, name) pairs."""
        return len({(taker, name) for (taker, _), names in pairs.items() for name in names})

    @property
    def mutual(self) -> list[tuple[str, str]]:
        """Pairs of classes that take names of each other which no base class declares."""
        pairs = combinations(sorted({name for pair in self.undeclared for name in pair}), 2)
        return [(one, two) for one, two in pairs if (one, two) in self.undeclared and (two, one) in self.undeclared]

    @property
    def two_writers(self) -> dict[str, set[str]]:
        return {name: modules for name, modules in sorted(self.writers.items()) if len(modules) > 1}


def modules(package: Path) -> dict[str, ast.Module]:
    """Parse the package: module name below the package, such as `_engine.client`, to its tree."""
    found = {}
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found[name] = ast.parse(path.read_text(), str(path))
    return found


def imports(tree: ast.Module, known: set[str]) -> Iterator[tuple[str, str, str]]:
    """List (local name, module, name in the module) of imports from the package; the last is empty for a module."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "dockerspawner":
            module = node.module.partition(".")[2]
            for alias in node.names:
                inner = f"{module}.{alias.name}".lstrip(".")
                local = alias.asname or alias.name
                yield (local, inner, "") if inner in known else (local, module, alias.name)


def seams(package: Path = PACKAGE) -> Seams:
    """Read the package and compare its classes."""
    trees = modules(package)
    classes: dict[tuple[str, str], Class] = {}
    scopes: dict[str, dict[str, tuple[str, str]]] = {}
    outside: set[tuple[str, str, str]] = set()
    for module, tree in trees.items():
        scopes[module] = {local: (where, name) for local, where, name in imports(tree, set(trees)) if name}
        outside |= {(module, *found) for found in _assigned_outside(tree)}
        # The core's classes are inside of `if TYPE_CHECKING`.
        for node in [*tree.body, *(inner for one in tree.body if isinstance(one, ast.If) for inner in one.body)]:
            if isinstance(node, ast.ClassDef):
                scopes[module][node.name] = (module, node.name)
                classes[module, node.name] = _read(node, module)

    def bases(one: Class) -> list[Class]:
        keys = [scopes[one.module].get(base) for base in one.bases]
        return [classes[key] for key in keys if key in classes]

    def ancestors(one: Class) -> list[Class]:
        found: list[Class] = []
        for base in bases(one):
            found += [each for each in [base, *ancestors(base)] if each not in found]
        return found

    made_of: list[Class] = []
    for one in sorted((one for one in classes.values() if one.name in SPAWNERS), key=lambda one: -len(ancestors(one))):
        made_of += [each for each in [one, *ancestors(one)] if each not in made_of]
    owners = [one for one in made_of if one.module != CORE]
    core = [one for one in classes.values() if one.module == CORE]
    jupyterhub = set().union(*(one.defined for one in core if one.name == JUPYTERHUB))
    declared = set().union(*(one.defined for one in core if one.name != JUPYTERHUB))
    taken: dict[tuple[str, str], set[str]] = defaultdict(set)
    undeclared: dict[tuple[str, str], set[str]] = defaultdict(set)
    for one in owners:
        inherited = set().union(*(base.defined | base.assigned for base in ancestors(one) if base.module != CORE))
        for name in one.used - one.defined - one.assigned - jupyterhub:
            if owner := _owner(name, owners):
                taken[one.name, owner.name].add(name)
                if name not in inherited:
                    undeclared[one.name, owner.name].add(name)
    writers: dict[str, set[str]] = defaultdict(set)
    chained: dict[str, list[str]] = defaultdict(list)
    for one in owners:
        for name in one.assigned:
            writers[name].add(one.module)
        for name in one.passed_on:
            chained[name].append(one.name)
    # A mixin that calls super() for another mixin's method relies on the order in which a spawner names them.
    for name in list(chained):
        siblings = [one for one in owners if name in one.passed_on]
        chained[name] = [
            one.name
            for one in siblings
            if name not in jupyterhub
            and not any(name in base.defined for base in ancestors(one) if base.module != CORE)
            and any(name in other.defined for other in owners if other is not one)
        ]
        if not chained[name]:
            del chained[name]
    reached = {(module, name) for module, tree in trees.items() for name in _taken_of_server(tree)}
    unused = declared - set().union(*undeclared.values(), chained) - {name for _, name in reached}
    private = {(module, name) for module, name in reached if name.startswith("_")}
    return Seams(owners, dict(taken), dict(undeclared), dict(writers), outside, private, unused, dict(chained))


def _owner(name: str, classes: list[Class]) -> Class | None:
    """Return the class that a name belongs to: the last that defines it, whose definition others override.

    If no class defines the name, it belongs to one that assigns it.
    """
    defining = [one for one in classes if name in one.defined]
    assigning = [one for one in classes if name in one.assigned]
    return next(reversed(defining or assigning), None)


def _read(node: ast.ClassDef, module: str) -> Class:
    one = Class(node.name, module, [base.id for base in node.bases if isinstance(base, ast.Name)])
    for statement in node.body:
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
            one.defined.add(statement.name)
        elif isinstance(statement, ast.Assign):
            one.defined |= {
                inner.id for target in statement.targets for inner in ast.walk(target) if isinstance(inner, ast.Name)
            }
        elif isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            one.defined.add(statement.target.id)
    for inner in ast.walk(node):
        if isinstance(inner, ast.Attribute) and isinstance(inner.value, ast.Name) and inner.value.id in ("self", "cls"):
            (one.used if isinstance(inner.ctx, ast.Load) else one.assigned).add(inner.attr)
        elif isinstance(inner, ast.Attribute) and _is_super(inner.value):
            one.passed_on.add(inner.attr)
        elif (attribute := _by_text(inner)) and attribute[1] in ("self", "cls"):
            (one.assigned if attribute[0] in ("setattr", "delattr") else one.used).add(attribute[2])
    one.used |= one.assigned
    return one


def _taken_of_server(tree: ast.Module) -> Iterator[str]:
    """List the attributes of `server` and of `self._server`: the spawner that a collaborator works for."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            match node.value:
                case ast.Name(id="server") | ast.Attribute(value=ast.Name(id="self"), attr="_server"):
                    yield node.attr


def _is_super(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "super"


def _by_text(node: ast.AST) -> tuple[str, str, str] | None:
    """Return (function, object, attribute) of getattr(object, "attribute") and its kin."""
    match node:
        case ast.Call(
            func=ast.Name(id="getattr" | "setattr" | "delattr" | "hasattr" as function),
            args=[ast.Name(id=owner), ast.Constant(value=str(name)), *_],
        ):
            return function, owner, name
    return None


def _assigned_outside(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """List (object, attribute) of assignments to attributes of parameters, and of objects that `self` has."""
    for function in ast.walk(tree):
        if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        arguments = function.args
        given = {one.arg for one in [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]} - {"self", "cls"}
        for node in ast.walk(function):
            if isinstance(node, ast.Attribute) and not isinstance(node.ctx, ast.Load):
                owner = node.value
                if isinstance(owner, ast.Name) and owner.id in given:
                    yield owner.id, node.attr
                elif isinstance(owner, ast.Attribute):
                    yield ast.unparse(owner), node.attr
            elif (found := _by_text(node)) and found[0] in ("setattr", "delattr") and found[1] in given:
                yield found[1], found[2]


def wings(package: Path = PACKAGE) -> dict[str, dict[str, set[str]]]:
    """Map each wing, and each module outside of wings, to those that it imports, with the importing modules."""
    trees = modules(package)
    folders = {path.parent.name for path in package.glob("*/__init__.py")}

    def wing(module: str) -> str:
        first = module.partition(".")[0]
        return first if first in folders else module or "__init__"

    # The core imports types of every wing, for mypy alone.
    del trees[CORE]
    edges: dict[str, dict[str, set[str]]] = {wing(module): defaultdict(set) for module in trees}
    for module, tree in trees.items():
        for _, where, _ in imports(tree, set(trees)):
            if where != CORE and wing(where) != wing(module):
                edges[wing(module)][wing(where)].add(module)
    return edges


def print_seams(found: Seams, names: bool) -> None:
    """Print the figures of `found`, and the names if `names`."""
    mutual = {frozenset(pair) for pair in found.mutual}
    print(f"{len(found.classes):4} classes make up the spawners")
    print(f"{found.count(found.taken):4} names that a class takes from another, own declarations alone counted")
    print(f"{found.count(found.undeclared):4} of them no base class defines, either")
    print(f"{len(found.undeclared):4} pairs of classes with such names, {len(mutual)} of them mutual")
    print(f"{len(found.two_writers):4} variables that more than one module assigns")
    print(f"{len(found.outside):4} attributes that are assigned through another object")
    print(f"{len(found.through_server):4} private names that a collaborator takes from its spawner")
    print(f"{len(found.chained):4} methods that call super() across mixins, so that the order of bases matters")
    if not names:
        return
    print("\nNames that no base class defines: class <- owner, * if mutual")
    for (taker, owner), used in sorted(found.undeclared.items()):
        mark = "*" if frozenset((taker, owner)) in mutual else " "
        print(f"{mark} {taker} <- {owner}: {' '.join(sorted(used))}")
    print("\nNames that a base class defines")
    for (taker, owner), used in sorted(found.taken.items()):
        if rest := used - found.undeclared.get((taker, owner), set()):
            print(f"  {taker} <- {owner}: {' '.join(sorted(rest))}")
    print("\nVariables that more than one module assigns")
    for name, where in found.two_writers.items():
        print(f"  {name}: {' '.join(sorted(where))}")
    print("\nAttributes that are assigned through another object")
    for module, owner, attribute in sorted(found.outside):
        print(f"  {module}: {owner}.{attribute}")
    print("\nPrivate names that a collaborator takes from its spawner")
    for module, name in sorted(found.through_server):
        print(f"  {module}: {name}")
    print("\nMethods that call super() across mixins")
    for name, where_called in sorted(found.chained.items()):
        print(f"  {name}: {' '.join(where_called)}")


def print_wings(edges: dict[str, dict[str, set[str]]]) -> bool:
    """Print the wings from the lowest to the highest with their imports; return whether there is no cycle."""
    try:
        order = list(TopologicalSorter(edges).static_order())
    except CycleError as error:
        print("cycle: " + " -> ".join(reversed(error.args[1])))
        for one, two in zip(error.args[1], error.args[1][1:], strict=False):
            print(f"  {two} -> {one}: {' '.join(sorted(edges[two][one]))}")
        return False
    for wing in order:
        print(f"{wing:22} -> {' '.join(sorted(edges[wing], key=order.index))}".rstrip(" ->"))
    return True


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--names", action="store_true", help="print the names, too")
    parser.add_argument("--wings", action="store_true", help="print the imports between wings")
    parser.add_argument("package", nargs="?", type=Path, default=PACKAGE, help="folder of the package")
    given = parser.parse_args()
    if given.wings:
        return 0 if print_wings(wings(given.package)) else 1
    print_seams(seams(given.package), given.names)
    return 0


if __name__ == "__main__":
    sys.exit(main())
