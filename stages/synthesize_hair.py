"""Stage synthesize_hair: draws the embedded people with hair, in the layout of K-Hairstyle."""

from visage.config import Config, output, stage


@stage
def main(config: Config) -> None:
    from visage.hair.synthesize import synthesize

    synthesize(config.hair.synthesize, seed=config.seed, out=output("data/synthetic/hair"))


if __name__ == "__main__":
    main()
