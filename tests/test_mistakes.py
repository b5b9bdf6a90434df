"""What a caller gets wrong in type, said in one line.

In a process of its own: the other tests run with types enforced, which would say it first.
"""

import json
import subprocess
import sys

import pytest

BEFORE = """
import json
from pathlib import Path
import torch
from torch import nn
from zeroshot import Axis, Batch, Net, Proxy, Recipe, Space, Task, ZeroshotError, evaluate
from zeroshot import finetune, load_batch, load_benchmark, load_split, load_truth, prune
from zeroshot.measure import latency
from zeroshot.passes import Census

model = nn.Sequential(nn.Flatten(), nn.Linear(12, 3))
x, y = torch.rand(4, 3, 2, 2), torch.tensor([0, 1, 2, 0])
batch = Batch(x, y)
found = {}
for call in json.loads(input()):
    try:
        found[call] = f"gives {eval(call)!r}"
    except ZeroshotError as error:
        found[call] = str(error)
    except Exception as error:
        found[call] = f"is {error!r}"
print(json.dumps(found))
"""

SAID = {
    "evaluate(model, (x, y))": "batch is tuple; expected zeroshot.Batch(inputs, targets), or",
    "evaluate(model, x)": "batch is Tensor; expected zeroshot.Batch",
    "evaluate('resnet18', batch)": "network 'resnet18'; expected a torch.nn.Module (zeroshot.score",
    "evaluate(nn.Linear, batch)": "network Linear is a class; expected an instance",
    "evaluate(model, batch, 5)": "unknown proxy 5; expected a zeroshot.Proxy or one of params",
    "evaluate(model, batch, (5,))": "unknown proxy 5; expected a zeroshot.Proxy or one of params",
    "Batch([1, 2], [0, 1])": "inputs are list; expected a torch.Tensor",
    "Batch(x, None)": "targets are NoneType; expected a torch.Tensor",
    "Batch(x, y, 'mse')": "loss 'mse'; expected a function of answers and targets",
    "Net(model, blocks='0')": "blocks '0'; expected a tuple: ('0',)",
    "load_batch(batch_size=2.5)": "a batch of 2.5: expected a whole number",
    "load_batch(size=1.5)": "size 1.5: expected a whole number",
    "Proxy('p', (Census(),), len, 'up', '')": "proxy p: better='up'; expected 'higher' or 'lower'",
    "Proxy('p', Census(), len, 'lower', '')": "proxy p: needs=Census(); expected a tuple of passes",
    "Proxy('p', (Census,), len, 'lower', '')": "proxy p: needs=(<class 'zeroshot.passes.",
    "Proxy('p', [Census()], len, 'lower', '')": "proxy p: needs=[Census()]; expected a tuple",
    "load_batch(seed='1')": "seed '1': expected a whole number",
    "load_batch(x)": "data of type Tensor; expected a zeroshot.Batch or one of noise",
    "evaluate([model], batch)": "network of type list; expected a torch.nn.Module",
    "Task(size=2.5)": "images of size 2.5: expected a whole number",
    "latency('x', batch)": "network 'x'; expected a torch.nn.Module",
    "latency(model, (x, y))": "shown is tuple; expected a torch.Tensor or a zeroshot.Batch",
    "latency(model, x, repeats=1.5)": "repeats 1.5: expected a whole number",
    "prune('nasbench201', data=batch)": "data of type Batch: expected a name, see `load_bat",
    "prune('nasbench201', criterion=5)": "cannot rank by 5: expected a name, an expression or a ze",
    "finetune('nasbench201:9', data=batch, out='o')": "unknown data <Batch of 4: inputs",
    "load_split(5)": "unknown data 5; expected one of noise",
    "load_truth('nats-tss', path='nowhere')": "the benchmark 'nats-tss' needs its files",
    "load_benchmark('nats-tss', 'nowhere')": "the benchmark 'nats-tss' needs its files",
    "load_truth(Path('nowhere.csv'))": "there is no file nowhere.csv; check the path",
    "Recipe(epochs=1.5)": "--epochs 1.5: expected a whole number",
    "Recipe(epochs='2')": "--epochs '2': expected a whole number",
    "Recipe(batch_size=20.5)": "--batch-size 20.5: expected a whole number",
    "Recipe(crop=2.5)": "--crop 2.5: expected a whole number",
    "Recipe(clip='5')": "--clip '5': expected a number",
    "type('S', (Space,), {'axes': (('x', ('a', 'b')),)})": "S has axis ('x', ('a', 'b')); expected",
    "type('S', (Space,), {'axes': (Axis('x', 'ab'),)})": "axis x of S has options 'ab'; expected",
}


@pytest.fixture(scope="module")
def answers():
    found = subprocess.run(
        [sys.executable, "-c", BEFORE],
        input=json.dumps(list(SAID)),
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(found.stdout)


@pytest.mark.parametrize("call", SAID)
def test_is_said_in_a_line(call, answers):
    assert answers[call].startswith(SAID[call])
