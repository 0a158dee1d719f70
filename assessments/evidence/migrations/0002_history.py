from typing import Any

import django.db.models.deletion
from django.db import migrations, models


def _carry_over(apps: Any, schema_editor: Any) -> None:
    """Sightings of aliases become changes; manifests name their tables under ``tables``."""
    Sighting, Change = apps.get_model("evidence", "AliasSighting"), apps.get_model("evidence", "Change")
    Change.objects.bulk_create(
        Change(
            source_id=row.source_id,
            entity="alias",
            ident=row.model,
            field="alias",
            key=row.alias,
            new=row.version,
            after=row.after,
            before=row.before,
        )
        for row in Sighting.objects.order_by("pk")
    )
    for collection in apps.get_model("evidence", "Collection").objects.exclude(manifest={}):
        collection.manifest = {"tables": collection.manifest, "batches": [], "coverage": [], "until": None}
        collection.save(update_fields=["manifest"])


class Migration(migrations.Migration):

    dependencies = [
        ('evidence', '0001_sources'),
    ]

    operations = [
        migrations.RemoveField(
            model_name='collection',
            name='registry_read',
        ),
        migrations.AddField(
            model_name='collection',
            name='checkpoint',
            field=models.JSONField(default=dict),
        ),
        migrations.AddField(
            model_name='collection',
            name='fingerprint',
            field=models.CharField(blank=True, max_length=16),
        ),
        migrations.AddField(
            model_name='source',
            name='audit_hours',
            field=models.PositiveIntegerField(default=168, verbose_name='read everything again within (hours)'),
        ),
        migrations.AddField(
            model_name='source',
            name='every_minutes',
            field=models.PositiveIntegerField(blank=True, null=True, verbose_name='collect every (minutes)'),
        ),
        migrations.CreateModel(
            name='Change',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('entity', models.CharField(max_length=20, verbose_name='what')),
                ('ident', models.CharField(max_length=600, verbose_name='id')),
                ('field', models.CharField(max_length=20, verbose_name='field')),
                ('key', models.CharField(blank=True, max_length=600, verbose_name='name')),
                ('old', models.TextField(null=True, verbose_name='before')),
                ('new', models.TextField(null=True, verbose_name='after')),
                ('after', models.DateTimeField(null=True, verbose_name='last seen as before')),
                ('before', models.DateTimeField(verbose_name='first seen as after')),
                ('source', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='changes', to='evidence.source')),
            ],
            options={
                'verbose_name': 'change',
                'verbose_name_plural': 'changes',
                'ordering': ['before', 'pk'],
            },
        ),
        migrations.RunPython(_carry_over, migrations.RunPython.noop),
        migrations.DeleteModel(
            name='AliasSighting',
        ),
        migrations.AddIndex(
            model_name='change',
            index=models.Index(fields=['source', 'before'], name='change_time'),
        ),
        migrations.AddIndex(
            model_name='change',
            index=models.Index(fields=['source', 'entity', 'ident'], name='change_of'),
        ),
    ]
