"""A folder with an encoder of random weights, as Hugging Face's library writes one."""

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

WIDTH, LAYERS, INNER, POSITIONS = 8, 2, 12, 32
PIECES = (
    *("[PAD]", "[UNK]", "[CLS]", "[SEP]", "the", "film", "was", "really", "a", "play", "and", "so", "long"),
    *("good", "fine", "lovely", "bad", "poor", "dreadful", "un", "##good", "##ing", "is", "!", ",", "uber", "cafe"),
    *("中", "\u03bf", "##\u03b4", "##\u03bf", "##\u03c3"),  # the last four are Greek
)
CONFIGS = {
    "bert": {
        "hidden_size": WIDTH,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": 2,
        "intermediate_size": INNER,
        "hidden_act": "gelu",
        "type_vocab_size": 2,
    },
    "distilbert": {"dim": WIDTH, "n_layers": LAYERS, "n_heads": 2, "hidden_dim": INNER, "activation": "gelu"},
}
LAYERS_OF = {
    "bert": (
        *("attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense"),
        *("attention.output.LayerNorm", "intermediate.dense", "output.dense", "output.LayerNorm"),
    ),
    "distilbert": (
        *("attention.q_lin", "attention.k_lin", "attention.v_lin", "attention.out_lin"),
        *("sa_layer_norm", "ffn.lin1", "ffn.lin2", "output_layer_norm"),
    ),
}
SHAPES = (*[(WIDTH, WIDTH)] * 4, (WIDTH,), (INNER, WIDTH), (WIDTH, INNER), (WIDTH,))


def write_folder(folder: Path, kind: str = "bert", seed: int = 0) -> str:
    """Write an encoder's config.json, vocab.txt and model.safetensors, and return the folder's name."""
    generator = np.random.default_rng(seed)
    tensors: dict[str, np.ndarray] = {}

    def draw(name: str, *shape: int) -> None:
        tensors[name] = generator.normal(0, 0.5, shape).astype(np.float32)

    draw("embeddings.word_embeddings.weight", len(PIECES), WIDTH)
    draw("embeddings.position_embeddings.weight", POSITIONS, WIDTH)
    if kind == "bert":
        draw("embeddings.token_type_embeddings.weight", 2, WIDTH)
    stack = "encoder.layer" if kind == "bert" else "transformer.layer"
    named = [
        (f"{stack}.{layer}.{name}", shape)
        for layer in range(LAYERS)
        for name, shape in zip(LAYERS_OF[kind], SHAPES, strict=True)
    ]
    for name, shape in [("embeddings.LayerNorm", (WIDTH,)), *named]:
        draw(f"{name}.weight", *shape)
        tensors[f"{name}.weight"] += len(shape) == 1  # a norm's, about one
        draw(f"{name}.bias", shape[0])
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    shared = {"model_type": kind, "vocab_size": len(PIECES), "max_position_embeddings": POSITIONS}
    (folder / "config.json").write_text(json.dumps({**CONFIGS[kind], **shared}))
    (folder / "vocab.txt").write_text("\n".join(PIECES) + "\n", encoding="utf-8")
    return str(folder)
