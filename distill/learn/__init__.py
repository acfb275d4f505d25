"""What learns: teachers, students, the terms of their loss, and models as they are kept."""
