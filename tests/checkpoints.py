"""Checkpoints made on the spot: the shapes of real ones, random weights, a second each."""

import json
import shutil
from pathlib import Path

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (
    BertConfig,
    BertModel,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2Model,
)

CORPUS = [
    "Instruct: Given a web search query, retrieve relevant passages that answer the query\nQuery: ",
    "the quick brown fox jumps over the lazy dog and runs into the forest",
    "如何更换花呗绑定银行卡 花呗更换绑定银行卡 今天天气怎么样 我想查询账单",
    "Retrieve semantically similar text. Identify the topic or theme of the given news articles",
]

FIVE = int(transformers.__version__.partition(".")[0]) >= 5
"""Whether these tests run under transformers 5."""

MODULE_4 = '''
"""Qwen2 that looks both ways."""
import torch
from transformers.models.qwen2.modeling_qwen2 import Qwen2Model


class QZhouModel(Qwen2Model):
    def _update_causal_mask(self, attention_mask, input_tensor, *args, **kwargs):
        batch, length = input_tensor.shape[:2]
        if attention_mask is None:
            attention_mask = torch.ones(batch, length, device=input_tensor.device)
        shut = torch.finfo(input_tensor.dtype).min
        mask = (1.0 - attention_mask[:, None, None, :].to(input_tensor.dtype)) * shut
        return mask.expand(batch, 1, length, length).contiguous()
'''
"""As one does it for transformers 4: transformers 5 builds masks without asking the model."""

MODULE_5 = '''
"""Qwen2 that looks both ways."""
from transformers.models.qwen2.modeling_qwen2 import Qwen2Model


class QZhouModel(Qwen2Model):
    def __init__(self, config):
        config.is_causal = False
        super().__init__(config)
'''
"""As transformers 5 (from 5.2 on) is told so; transformers 4 does not look at it."""


def make_qzhou(
    folder: Path, *, seed: int = 0, module: str = MODULE_5 if FIVE else MODULE_4
) -> Path:
    """Write a QZhou-shaped checkpoint, with the code `module`, into `folder` and return it."""
    folder.mkdir(parents=True)
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=600,
        special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<|endoftext|>",
        eos_token="<|im_end|>",
        padding_side="left",
        model_max_length=131072,
    ).save_pretrained(folder)
    torch.manual_seed(seed)
    config = Qwen2Config(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=48,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=4096,
        initializer_range=0.2,
        torch_dtype="bfloat16",
    )
    Qwen2Model(config).to(torch.bfloat16).save_pretrained(folder)
    values = json.loads((folder / "config.json").read_text())
    values["architectures"] = ["QZhouModel"]
    values["auto_map"] = {"AutoModel": "modeling_qzhou.QZhouModel"}
    (folder / "config.json").write_text(json.dumps(values))
    (folder / "modeling_qzhou.py").write_text(module)
    return folder


def make_bert(folder: Path, *, pooling: str = "pooling_mode_cls_token") -> Path:
    """Write a BERT-shaped sentence-transformers checkpoint into `folder` and return it."""
    folder.mkdir(parents=True)
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    trainer = trainers.WordPieceTrainer(vocab_size=400, special_tokens=special, show_progress=False)
    tokenizer.train_from_iterator(CORPUS, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B [SEP]",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        model_max_length=128,
    ).save_pretrained(folder)
    torch.manual_seed(1)
    config = BertConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=128,
    )
    BertModel(config, add_pooling_layer=False).save_pretrained(folder)
    kinds = ("Transformer", "Pooling", "Normalize")
    modules = [
        {"idx": i, "name": str(i), "path": "", "type": f"sentence_transformers.models.{kind}"}
        for i, kind in enumerate(kinds)
    ]
    modules[1]["path"] = "1_Pooling"
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "sentence_bert_config.json").write_text('{"max_seq_length": 96}')
    (folder / "1_Pooling").mkdir()
    flags = {"word_embedding_dimension": 32, "pooling_mode_mean_tokens": False, pooling: True}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(flags))
    return folder


def make_model(folder: Path, tokenizer_of: Path, kind, config, values) -> Path:
    """Write a model of the class `kind` into `folder`, with the tokenizer of another.

    A causal decoder, unless `kind` is of BERT's family.
    """
    folder.mkdir(parents=True)
    for file in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
        if (tokenizer_of / file).exists():  # transformers 5 writes no map of special tokens
            shutil.copy(tokenizer_of / file, folder)
    vocabulary = json.loads((tokenizer_of / "config.json").read_text())["vocab_size"]
    torch.manual_seed(3)
    shape = {
        "vocab_size": vocabulary,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 2048,
        "initializer_range": 0.3,
    }
    kind(config(**{**shape, **values})).save_pretrained(folder)
    return folder


def without_own_module(checkpoint: Path, folder: Path) -> Path:
    """Copy a checkpoint into `folder` so that it loads as the stock class, causal, silently."""
    shutil.copytree(checkpoint, folder)
    config = json.loads((folder / "config.json").read_text())
    del config["auto_map"]
    (folder / "config.json").write_text(json.dumps(config))
    return folder
