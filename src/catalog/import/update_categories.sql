-- Updates the existing categories among the records and returns the numbers of those that changed. null keeps the
-- current value (a parent_id of 0 means none). The join is by primary key; unchanged rows are not rewritten.
update category c set parent_id = n.parent_id, name = n.name, icon = n.icon, wide_banner = n.wide_banner,
       project_id = n.project_id, priority = n.priority, visible = n.visible, translations = n.translations,
       source = n.source, source_number = n.source_number
from (
    select o.category_id,
           case when n.parent_id is null then o.parent_id else nullif(n.parent_id, 0) end as parent_id,
           coalesce(n.name, o.name) as name, coalesce(n.icon, o.icon) as icon,
           coalesce(n.wide_banner, o.wide_banner) as wide_banner,
           coalesce(n.project_id, o.project_id) as project_id,
           coalesce(n.priority, o.priority) as priority, coalesce(n.visible, o.visible) as visible,
           import_merge_translations(o.translations, n.translations::jsonb) as translations,
           coalesce(n.source, o.source) as source, coalesce(n.source_number, o.source_number) as source_number
    from unnest($1::bigint[], $2::text[], $3::bigint[], $4::text[], $5::text[], $6::text[], $7::text[],
                $8::integer[], $9::boolean[], $10::text[], $11::text[], $12::bigint[])
         n (category_id, id, parent_id, name, icon, wide_banner, project_id, priority, visible, translations, source,
            source_number)
    join category o using (category_id)
) n
where c.category_id = n.category_id
  and (c.parent_id, c.name, c.icon, c.wide_banner, c.project_id, c.priority, c.visible, c.translations, c.source, c.source_number)
      is distinct from
      (n.parent_id, n.name, n.icon, n.wide_banner, n.project_id, n.priority, n.visible, n.translations, n.source, n.source_number)
returning c.category_id
