"""Stage prepare_faces: any folder of faces by class, resized and split by group, with what is bad set aside."""

from visage.config import Config, output, stage


@stage
def main(config: Config) -> None:
    from visage.faces.prepare import prepare

    prepare(
        config.faces.data,
        config.faces.prepare,
        seed=config.seed,
        out=output("data/processed/faces"),
        metrics=output("metrics/prepare_faces.json"),
        plots=output("plots/prepare_faces"),
    )


if __name__ == "__main__":
    main()
