"""The protocol once more, written plainly from its description and nothing shared with ours.

Slow on purpose: one row at a time, no cleverness, so that it can be read beside the table of the
protocol.
"""

import math

import numpy as np
import torch
from transformers import AutoModel, AutoTokenizer


def load(folder, dtype, left):
    tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=True)
    tokenizer.padding_side = "left" if left else "right"
    model = AutoModel.from_pretrained(
        folder, trust_remote_code=True, torch_dtype=dtype, attn_implementation="sdpa"
    )
    return tokenizer, model.eval()


def pool(kind, hidden, mask, left):
    rows = []
    for i in range(len(hidden)):
        length = mask[i].sum()
        states = hidden[i, -length:] if left else hidden[i, :length]
        if kind == "mean":
            rows.append(states.sum(dim=0) / length)
        elif kind == "last_token":
            rows.append(states[-1])
        elif kind == "bos_token":
            rows.append(states[0])
    if kind != "weighted_mean":
        return torch.stack(rows)
    weights = torch.zeros(mask.shape)
    for i in range(len(hidden)):
        length = int(mask[i].sum())
        ramp = torch.arange(1, length + 1).to(torch.float32)
        own = slice(-length, None) if left else slice(0, length)
        weights[i, own] = ramp
        weights[i] /= weights[i].sum()
    return torch.sum(hidden * weights[:, :, None], dim=1)


def encode(
    tokenizer,
    model,
    texts,
    *,
    prompt,
    pooling,
    left,
    max_length,
    batch_size=32,
    normalize=True,
    devices=1,
):
    size = min(math.ceil(len(texts) / devices), 3200)
    chunks = [texts[i : i + size] for i in range(0, len(texts), size)]
    results = []
    for chunk in chunks:
        order = np.argsort([-len(text) for text in chunk])
        vectors = []
        for start in range(0, len(chunk), batch_size):
            batch = [chunk[i] for i in order[start : start + batch_size]]
            strings = [prompt + ("Null" if text == "" else text) for text in batch]
            features = tokenizer(
                strings, padding=True, truncation=True, max_length=max_length, return_tensors="pt"
            )
            with torch.no_grad():
                hidden = model(**features).last_hidden_state
                vector = pool(pooling, hidden, features["attention_mask"], left)
                if normalize:
                    vector = torch.nn.functional.normalize(vector, p=2, dim=-1)
            vectors.append(vector.cpu())
        unsorted = torch.cat(vectors)[np.argsort(order)]
        results.append(unsorted.to(torch.float32).numpy())
    return np.concatenate(results)
