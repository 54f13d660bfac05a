from dataclasses import dataclass
@dataclass(frozen=True, slots=True)
class Options: ...
class D:
    kind="path_traversal"
    def find(self,t): return []
def build(o): return D()
