"""What a learning test must not survive."""

from dataclasses import dataclass

from agents.credit import Track, assign


@dataclass(frozen=True)
class Flipped:
    """An estimator with the sign of its advantages wrong."""

    right: object

    def batch(self, groups):
        return [
            tuple(
                Track(tuple(-a for a in track.advantages_GS), track.mask_GS, track.weight)
                for track in credit
            )
            for credit in assign(self.right, groups)
        ]

    def __call__(self, group):
        return self.batch([group])[0]
