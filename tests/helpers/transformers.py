"""Small random transformers of many families, and a tokenizer for all of them."""

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import AutoConfig, AutoModelForSequenceClassification, PreTrainedTokenizerFast

WORDS = 40
SPECIAL = {"<pad>": 0, "<cls>": 1, "<sep>": 2, "<unk>": 3}
TEXTS = ["w5 w9 w30 w31 w32 w7", "w8 w4 w24", "w6"]
SIZES = {
    "vocab_size": WORDS,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 40,
    "pad_token_id": 0,
}
# What a family wants beside these.
FAMILIES = {
    "bert": {},
    "roberta": {},
    "xlm-roberta": {},
    "camembert": {},
    "electra": {"embedding_size": 32},
    "distilbert": {"dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 48},
    "albert": {"embedding_size": 16},
    "modernbert": {"cls_token_id": 1, "sep_token_id": 2, "bos_token_id": 1, "eos_token_id": 2},
    "eurobert": {"bos_token_id": 1, "eos_token_id": 2, "mask_token_id": 3},
    "llama": {"num_key_value_heads": 2},
    "qwen2": {"num_key_value_heads": 2},
    "qwen3": {"num_key_value_heads": 2, "head_dim": 8},
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 40, "bos_token_id": 1, "eos_token_id": 2},
    "gemma2": {"num_key_value_heads": 2, "head_dim": 8},
    "gemma3_text": {"num_key_value_heads": 2, "head_dim": 8},
    "deberta-v2": {"relative_attention": True, "pos_att_type": ["p2c", "c2p"], "position_buckets": 8},
    "mpnet": {},
}


def small_tokenizer(special: bool = True, **tokens) -> PreTrainedTokenizerFast:
    """Words w4, w5, …; `<cls>` and `<sep>` around a text if `special`."""
    vocabulary = SPECIAL | {f"w{number}": number for number in range(len(SPECIAL), WORDS)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    names = {"pad_token": "<pad>", "unk_token": "<unk>"}
    if special:
        tokenizer.post_processor = processors.TemplateProcessing(
            single="<cls> $A <sep>", special_tokens=[("<cls>", 1), ("<sep>", 2)]
        )
        names |= {"cls_token": "<cls>", "sep_token": "<sep>"}
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, model_input_names=["input_ids", "attention_mask"], **{**names, **tokens}
    )


def small_transformer(family: str = "bert", num_labels: int = 2, seed: int = 0, **config):
    """Random weights, large enough that attention is far from uniform."""
    torch.manual_seed(seed)
    sizes = {**SIZES, **FAMILIES.get(family, {}), "num_labels": num_labels, **config}
    model = AutoModelForSequenceClassification.from_config(AutoConfig.for_model(family, **sizes))
    for weights in model.parameters():
        if weights.dim() > 1:
            torch.nn.init.normal_(weights, std=0.3)
    return model.eval()


def small_batch(tokenizer, texts=TEXTS):
    """Padded on the right."""
    return dict(tokenizer(texts, padding=True, return_tensors="pt"))
