"""What the tests of builders share whose dummy data are drawn when they begin."""

import tempfile
from pathlib import Path


class DrawnSource:
    """Beside `DatasetBuilderTestCase`: draws the dummy data into a folder that ends with it."""

    @staticmethod
    def draw(folder: Path) -> Path:
        """Writes the source into a new folder and returns it."""
        raise NotImplementedError

    @classmethod
    def setUpClass(cls):
        cls._folder = tempfile.TemporaryDirectory()
        cls.EXAMPLE_DIR = cls.draw(Path(cls._folder.name) / "dummy_data")
        super().setUpClass()

    @classmethod
    def tearDownClass(cls):
        super().tearDownClass()
        cls._folder.cleanup()

    def _make_builder(self, config=None):
        return self.DATASET_CLASS(data_dir=self.tmp_dir, config=config, source=self.EXAMPLE_DIR)
