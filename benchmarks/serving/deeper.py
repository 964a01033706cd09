"""A copy of a checkpoint with more layers that writes the same, for steps that take longer.

Beside a small model's steps all that the host does looks large. Layers whose attention and MLP put
out zeros pass on what they get: answers and scores stay what they were, bit for bit, and a step
takes the time of a deeper model.
"""

import copy
import shutil
from pathlib import Path

from torch import nn
from transformers import AutoModelForCausalLM, PreTrainedModel

from steering.fingerprint import WEIGHTS, fingerprint
from steering.manifest import Manifest
from training.run_folder import FOLDER

WRITERS = ("self_attn.o_proj", "mlp.down_proj")
"""What writes into the residual stream, in a layer of the families that Demur is for."""
REPLACED = (WEIGHTS, f"{WEIGHTS}.index.json")


def deepen(checkpoint: Path, layers: int, folder: Path) -> Path:
    """Write `checkpoint` into `folder` with `layers` layers; what is there is replaced.

    Its calibration holds for the copy, and is kept. Raises ValueError if it has as many layers or
    more, or a layer is not of the kind that can be made to add nothing.
    """
    model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(checkpoint, dtype="auto")
    config = model.config
    own = config.num_hidden_layers
    if layers <= own:
        raise ValueError(f"{checkpoint} has {own} layers: {layers} are not more")
    stack = getattr(model.base_model, "layers", None)
    if not isinstance(stack, nn.ModuleList):
        raise ValueError(f"{checkpoint}: the layers of {type(model).__name__} are not to be found")
    for number in range(own, layers):
        stack.append(_passing_on(stack[number % own]))
    config.num_hidden_layers = layers
    if getattr(config, "layer_types", None):
        config.layer_types = [config.layer_types[number % own] for number in range(layers)]
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(checkpoint, folder, ignore=shutil.ignore_patterns(FOLDER))
    for pattern in REPLACED:
        for path in folder.glob(pattern):
            path.unlink()
    model.save_pretrained(folder)
    _recalibrated(folder)
    return folder


def _passing_on(layer: nn.Module) -> nn.Module:
    """A copy of the layer that adds nothing."""
    found = copy.deepcopy(layer)
    for name in WRITERS:
        try:
            writer = found.get_submodule(name)
        except AttributeError as error:
            raise ValueError(f"{type(layer).__name__} has no {name}") from error
        for parameter in writer.parameters():
            nn.init.zeros_(parameter)
    return found


def _recalibrated(folder: Path) -> None:
    """The calibration's scores are those of the copy too."""
    manifest = Manifest.load(folder)
    if manifest.calibration is not None:
        changes = {"weights": fingerprint(folder)}
        calibration = manifest.calibration.model_copy(update=changes)
        manifest.model_copy(update={"calibration": calibration}).save(folder)
