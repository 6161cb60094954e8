"""Operations on pictures that no dataset and no model owns: resizing, augmentation, fingerprints."""
