"""Stage synthesize_faces: draws the embedded people, in the layout of a real folder (class / session / picture)."""

from visage.config import Config, output, stage


@stage
def main(config: Config) -> None:
    from visage.faces.synthesize import synthesize

    synthesize(config.faces.synthesize, seed=config.seed, out=output("data/synthetic/faces"))


if __name__ == "__main__":
    main()
