"""Stage encode_prompts: every distinct prompt through the text encoders, once."""

from pathlib import Path

from visage.config import Config, output, stage


@stage
def main(config: Config) -> None:
    from visage.inpaint.encode_prompts import encode_prompts

    encode_prompts(
        config.prompts,
        config.runtime,
        data=Path("data/processed/inpaint"),
        out=output("artifacts/inpaint/encode_prompts"),
        metrics=output("metrics/encode_prompts.json"),
    )


if __name__ == "__main__":
    main()
