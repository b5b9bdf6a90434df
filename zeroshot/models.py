"""Networks by name: an architecture of a space, or a factory of the user's own."""

import ast
import importlib
import re
import sys
import zlib
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import torch
from torch import nn

from zeroshot.core import Net, Proxy
from zeroshot.edition import edition
from zeroshot.errors import ZeroshotError, brief, in_a_line, nearest, whole
from zeroshot.initial import INITS
from zeroshot.proxies import PROXIES, listed, unknown
from zeroshot.ranking import ENSEMBLES, Ensemble, check_by, check_members, named, single
from zeroshot.restore import seeded
from zeroshot.spaces import SPACES, Space, Task


def find_space(name: str, *, small: bool = False, **shape: int | None) -> Space:
    """A space by name, with its network shape changed where `shape` has a number.

    With `small` the shape to change is the space's small one.

    A space of the user's own is 'package.module:SPACE', a space or its class.

    Raises:
        ZeroshotError: for an unknown name, something that is no space, or a shape that the space
            does not have.
    """
    if not isinstance(name, str):
        raise ZeroshotError(f"space {brief(name)}: expected a name or a zeroshot.Space")
    space = next((space for space in SPACES if space.name == name), None)
    if space is None and ":" in name:
        space = _import(name)
        if isinstance(space, type) and issubclass(space, Space):
            try:
                space = space()
            except Exception as error:  # it lacks `build`, say
                raise ZeroshotError(f"{name} cannot be made: {in_a_line(error)}") from error
        if not isinstance(space, Space):
            raise ZeroshotError(f"{name} is {type(space).__name__}; expected a zeroshot.Space")
    if space is None:
        own = _own_space(name)
        if own:
            raise ZeroshotError(f"unknown space {name!r}; did you mean {own}?")
        raise ZeroshotError(_unknown("space", name, [space.name for space in SPACES]))
    return reshaped(space, small=small, **shape)


def _own_space(name: str) -> str | None:
    """The 'module:SPACE' that may be meant by the name of a file here; None if there is none."""
    module = name.removesuffix(".py").replace("/", ".")
    here = Path.cwd() / f"{module.replace('.', '/')}.py"
    if not here.is_file() or not all(part.isidentifier() for part in module.split(".")):
        return None
    try:  # it is only read: a script of the user's is not to run for a hint
        parts = ast.parse(here.read_text(encoding="utf-8")).body
    except (OSError, ValueError, SyntaxError):
        return None
    classes = [part for part in parts if isinstance(part, ast.ClassDef)]
    spaces = [part.name for part in classes if any("Space" in ast.unparse(b) for b in part.bases)]
    made = [
        part.targets[0].id
        for part in parts
        if isinstance(part, ast.Assign)
        and isinstance(part.targets[0], ast.Name)
        and isinstance(part.value, ast.Call)
        and ast.unparse(part.value.func) in spaces
    ]
    return next((f"{module}:{word}" for word in (*made, *spaces)), None)


def reshaped(space: Space, *, small: bool = False, **shape: int | None) -> Space:
    """A space, or its small one, with its network shape changed where `shape` has a number.

    Raises:
        ZeroshotError: for a shape that the space does not have.
    """
    space = space.small if small else space
    for field, value in shape.items():
        if value is None:
            continue
        if field not in space.__dataclass_fields__:
            raise ZeroshotError(
                f"--{field} {value}: the networks of {space.name} have no such setting"
            )
        if whole(f"--{field}", value) < 1:
            raise ZeroshotError(f"--{field} {value}: expected a positive number")
        space = replace(space, **{field: value})
    return space


def find_proxies(names: str | Proxy | Iterable[str | Proxy]) -> tuple[Proxy, ...]:
    """Proxies by name (with commas, or several), 'all', 'package.module:OBJECT', or as they are.

    Raises:
        ZeroshotError: for an unknown name, with the nearest ones.
    """
    found = listed(names, _own_proxy)
    if not found:
        raise ZeroshotError(f"no proxy is named; there are {', '.join(p.name for p in PROXIES)}")
    return found


def _own_proxy(name: object) -> Proxy:
    if not isinstance(name, str) or ":" not in name:
        return unknown(name)
    found = _import(name)
    if not isinstance(found, Proxy):
        raise ZeroshotError(f"{name} is {type(found).__name__}; expected a zeroshot.Proxy")
    return found


def default_ensemble(space: Space) -> str:
    """What ranks the networks of a space best, as far as we know: it depends on their blocks.

    And on their inputs: tokens have no gradient, without which both ensembles are undefined.
    """
    if _reads_tokens(space):
        return "swap"
    return "default" if _names_blocks(space) else "log_rank"


def refining_ensemble(space: Space) -> str:
    """What tells the good networks of a space apart, among which jacob_cov is mostly chance."""
    if _reads_tokens(space):
        return "swap"
    return "az_nas" if _names_blocks(space) else "log_rank"


def _reads_tokens(space: Space) -> bool:
    return not space.task.inputs(2, torch.Generator().manual_seed(0)).is_floating_point()


def _names_blocks(space: Space) -> bool:
    return type(space).blocks is not Space.blocks


def find_members(by: str | Ensemble) -> tuple[Ensemble, tuple[Proxy, ...]]:
    """An ensemble by name, a proxy, or an expression of proxies; and the proxies that it needs.

    Raises:
        ZeroshotError: for an unknown name, or an expression that cannot be read or names an
            ensemble.
    """
    check_by(by)
    if isinstance(by, str):
        ensemble = named(by)
        if ensemble is None:
            names = [proxy.name for proxy in PROXIES]
            if ":" not in by and by.strip() not in names:
                every = [*(ensemble.name for ensemble in ENSEMBLES), *names]
                raise ZeroshotError(_unknown("proxy or ensemble", by, every))
            (proxy,) = find_proxies((by,))
            return single(proxy.name), (proxy,)
        by = ensemble
    check_members(by.name, by.members)
    return by, find_proxies(by.members)


def _native(text: str) -> str | None:
    """The first space in whose own notation a text is an architecture."""
    for space in SPACES:
        with suppress(ZeroshotError):
            space.parse_native(text)
            return space.name
    return None


def space_of(spec: str) -> tuple[str, str] | None:
    """Space and architecture, of 'SPACE:ARCH' or 'package.module:SPACE:ARCH'; None for others.

    Of 'ARCH' too, in a space's own notation: of `SPACES` the first that writes so.
    """
    home, colon, rest = spec.partition(":")
    if not colon:
        return (found, spec) if (found := _native(spec)) else None
    if any(space.name == home for space in SPACES):
        return home, rest
    attribute, colon, arch = rest.partition(":")
    return (f"{home}:{attribute}", arch) if colon else None


def find_model(spec: str, task: Task | None, *, init: str, seed: int, device: str) -> Net:
    """The network of 'space:architecture' or of 'package.module:factory'.

    A factory is called without arguments, from a fresh random state that depends on the seed. What
    is a network already is neither initialised nor moved.

    Raises:
        ZeroshotError: for an unknown space, a malformed architecture, a module that cannot be
            imported, a factory that raises or gives no network.
    """
    home = space_of(spec)
    if ":" not in spec.rstrip(":") and (home is None or spec.endswith(":")):
        raise ZeroshotError(
            f"{spec!r} names no model; expected nasbench201:13714, torchvision:resnet18 or "
            "package.module:factory"
        )
    if home:
        space = find_space(home[0])
        return space.network(space.parse(home[1]), task, init=init, seed=seed, device=device)
    if init not in INITS:
        raise ZeroshotError(_unknown("initialisation", init, list(INITS)))
    start = seed ^ zlib.crc32(b"network")
    with seeded(start, torch.device(device)):  # what a module draws when it is imported
        held = _import(spec)
    if isinstance(held, nn.Module):  # a network that is there already stays as it is
        return Net(held, seed=seed)
    if isinstance(held, Space) or (isinstance(held, type) and issubclass(held, Space)):
        space = find_space(spec)
        example = f"{spec}:{space.spell(space.at(0))}"
        raise ZeroshotError(f"{spec} is a space; name one of its architectures, such as {example}")
    with seeded(start, torch.device(device)):
        try:
            made = held() if callable(held) else held
        except (Exception, SystemExit) as error:
            raise ZeroshotError(f"{spec} raised {in_a_line(error)}") from error
    if not isinstance(made, nn.Module):
        raise ZeroshotError(f"{spec} gave {type(made).__name__}; expected a torch.nn.Module")
    net = Net(made, seed=seed)
    INITS[init](made, net.generator("network"))
    made.to(device)
    return net


def code_of(spec: str, module: nn.Module) -> str:
    """What tells the code of a model from an earlier state of itself; see `zeroshot.edition`.

    Args:
        spec: what `find_model` takes.
        module: the network that it gave, for classes of parts that come from elsewhere.
    """
    types = {type(part) for part in module.modules()}
    foreign = [kind for kind in types if not kind.__module__.startswith("torch.")]
    foreign.sort(key=lambda kind: (kind.__module__, kind.__qualname__))
    if home := space_of(spec):
        return find_space(home[0]).code(*foreign)
    held = _import(spec)
    return edition(1, *(() if isinstance(held, nn.Module) else (held,)), *foreign)


Device = str | torch.device | None  # None is auto


def find_device(device: Device) -> str:
    """'cpu', 'cuda' or 'cuda:i' as given, 'auto' as the best there is; ZeroshotError if absent."""
    name = "auto" if device is None else str(device)
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    found = re.fullmatch(r"cpu|cuda(:[0-9]{1,3})?", name)
    if not found:
        raise ZeroshotError(f"unknown device {name!r}; expected auto, cpu, cuda or cuda:i")
    there = torch.cuda.device_count()
    if name != "cpu" and int((found[1] or ":0")[1:]) >= there:
        raise ZeroshotError(f"device {name} is not there: this machine has {there} CUDA devices")
    return name


def _import(spec: str) -> object:
    name, _, attribute = spec.partition(":")
    module = _imported(name, spec)
    try:
        return getattr(module, attribute)
    except AttributeError as error:
        raise ZeroshotError(f"{spec}: module {name} has no {attribute!r}") from error


def _imported(name: str, spec: str) -> ModuleType:
    """The module of that name, as `spec` asks for it."""
    if name.endswith(".py"):
        meant = spec.replace(name, name.removesuffix(".py").replace("/", "."), 1)
        raise ZeroshotError(f"{spec}: {name} is a file; did you mean the module, {meant}?")
    here = str(Path.cwd())
    if here not in sys.path:  # it stays there, for worker processes have to import the same
        sys.path.append(here)
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if not f"{name}.".startswith(f"{error.name}."):  # it is there, and imports another
            raise ZeroshotError(f"{spec}: importing {name} raised {in_a_line(error)}") from error
        spaces = ", ".join(space.name for space in SPACES)
        raise ZeroshotError(
            f"{spec}: there is no module {error.name!r} here or installed, "
            f"and no space of that name ({spaces})"
        ) from error
    except (Exception, SystemExit) as error:
        raise ZeroshotError(f"{spec}: importing {name} raised {in_a_line(error)}") from error


def _unknown(what: str, name: object, known: list[str]) -> str:
    return f"unknown {what} {name!r}; {nearest(name, known)}there are {', '.join(known)}"
