from __future__ import annotations

from pathlib import Path

RECIPE_VERSION = 1
SEED = 0
CHAT_TEMPLATE = (
    "{% for message in messages %}{{ message['role'] | capitalize }}: "
    "{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<image>{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}<end_of_utterance>\n{% endfor %}"
    "{% if add_generation_prompt %}Assistant:{% endif %}"
)


def build(folder: Path) -> None:
    from transformers import Idefics3ImageProcessor, Idefics3Processor, PreTrainedTokenizerFast

    from teacher.tiny import model, tokenizer

    texts = [p.read_text() for p in sorted((Path(__file__).parent.parent / "prompts").glob("*.yaml"))]
    trained = tokenizer.train(texts)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=trained,
        pad_token="<pad>",
        eos_token="<end_of_utterance>",
        model_max_length=model.CONTEXT,
        clean_up_tokenization_spaces=False,
    )
    image_processor = Idefics3ImageProcessor(
        do_image_splitting=False,
        do_resize=False,
        size={"longest_edge": model.IMAGE_SIZE},
        max_image_size={"longest_edge": model.IMAGE_SIZE},
    )
    processor = Idefics3Processor(image_processor, fast, image_seq_len=model.IMAGE_TOKENS, chat_template=CHAT_TEMPLATE)
    folder.mkdir(parents=True, exist_ok=True)
    processor.save_pretrained(folder)
    model.save(folder, trained.get_vocab(), SEED)
